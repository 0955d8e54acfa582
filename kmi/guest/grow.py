"""Room for packages: the root file system grows only as far as the recipe needs; the guest does the rest itself."""

from __future__ import annotations

from kmi.errors import BuildError
from kmi.guest.mounts import mount_again
from kmi.host.guestfs import Appliance

_SECTOR = 512
_MIB = 1024**2
_TAIL = _MIB
"""Kept free behind the last partition for the backup GPT (33 sectors) and alignment."""

_EXT = frozenset({"ext2", "ext3", "ext4"})
_GROWABLE = _EXT | {"xfs", "btrfs"}


def make_room(guest: Appliance, root: str, room: int) -> None:
    """Grow the mounted root until ``room`` bytes are free in it, where there are fewer.

    ``root`` is what inspection calls the operating system's root. parted(8) refuses to resize a partition in use, so
    everything is unmounted for it and mounted again as inspection says. BuildError if the partition cannot grow.
    """
    missing = _missing(guest, room)
    if missing <= 0:
        return
    kind, device = guest.vfs_type(root), _partition(guest, root)
    if kind not in _GROWABLE or device is None:
        raise BuildError(
            "the root file system cannot grow",
            expected=f"{', '.join(sorted(_GROWABLE))} right on a partition",
            got=f"{kind} on {root}",
        )
    end = _new_end(guest, device, missing)
    guest.umount_all()
    _resize(guest, device, end)
    if kind in _EXT:
        guest.e2fsck(device, correct=True)  # resize2fs demands it
        guest.resize2fs(device)
    mount_again(guest, root)
    if kind == "xfs":
        guest.xfs_growfs("/")
    elif kind == "btrfs":
        guest.btrfs_filesystem_resize("/")
    missing = _missing(guest, room)
    if missing > 0:
        raise BuildError("the disk is too small for the recipe", expected=f"{missing} more bytes free in {root}")


def _missing(guest: Appliance, room: int) -> int:
    stat = guest.statvfs("/")
    return room - int(stat["bavail"] * stat["bsize"])


def _partition(guest: Appliance, root: str) -> str | None:
    """The partition of /dev/sda1 or btrfsvol:/dev/sda1/subvolume (guestfs(3), mountable), None if it is on none.

    ``mountable_device`` gives the appliance's own name for it (seen: libguestfs 1.48), which other calls may take for
    another disk.
    """
    path = root.removeprefix("btrfsvol:") + "/"
    return next((str(part) for part in guest.list_partitions() if path.startswith(f"{part}/")), None)


def _new_end(guest: Appliance, device: str, missing: int) -> int:
    """The last byte of the grown partition; nothing is changed yet."""
    number, disk = guest.part_to_partnum(device), guest.part_to_dev(device)
    parts = guest.part_list(disk)
    part = next(part for part in parts if part["part_num"] == number)
    if any(other["part_start"] > part["part_start"] for other in parts):
        raise BuildError("the root partition cannot grow", expected="it is the last one on the disk", where=device)
    limit = guest.blockdev_getsize64(disk) - _TAIL
    if part["part_end"] + missing >= limit:
        raise BuildError("the disk is too small for the recipe", expected=f"{missing} more bytes in {device}")
    # A file system keeps some of what it gets to itself: ext4 up to 6 % for inodes and 5 % for root.
    wanted = part["part_end"] + 1 + missing * 5 // 4
    return int(min(-(-wanted // _MIB) * _MIB, limit // _MIB * _MIB) - 1)


def _resize(guest: Appliance, device: str, end: int) -> None:
    number, disk = guest.part_to_partnum(device), guest.part_to_dev(device)
    if guest.part_get_parttype(disk) == "gpt":
        guest.part_expand_gpt(disk)
    guest.part_resize(disk, number, end // _SECTOR)
