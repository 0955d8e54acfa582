"""Room for packages: the root file system grows only as far as the recipe needs; the guest does the rest itself."""

from __future__ import annotations

from kmi.errors import BuildError
from kmi.host.guestfs import Appliance

_SECTOR = 512
_TAIL = 2048 * _SECTOR
"""Kept free behind the last partition for the backup GPT (33 sectors) and alignment."""


def make_room(guest: Appliance, root: str, room: int) -> None:
    """Grow the mounted root until ``room`` bytes are free. BuildError if its partition cannot grow."""
    stat = guest.statvfs("/")
    missing = room - stat["bavail"] * stat["bsize"]
    if missing <= 0:
        return
    number, disk = guest.part_to_partnum(root), guest.part_to_dev(root)
    parts = guest.part_list(disk)
    part = next(part for part in parts if part["part_num"] == number)
    end = part["part_end"] + missing
    if any(other["part_start"] > part["part_start"] for other in parts):
        raise BuildError("the root partition cannot grow", expected="it is the last one on the disk", where=root)
    if end > guest.blockdev_getsize64(disk) - _TAIL:
        raise BuildError("the disk is too small for the recipe", expected=f"{missing} more bytes in {root}")
    if guest.part_get_parttype(disk) == "gpt":
        guest.part_expand_gpt(disk)
    kind = guest.vfs_type(root)
    guest.part_resize(disk, number, end // _SECTOR)
    match kind:
        case "xfs":
            guest.xfs_growfs("/")
        case "btrfs":
            guest.btrfs_filesystem_resize("/")
        case _:
            guest.resize2fs(root)
