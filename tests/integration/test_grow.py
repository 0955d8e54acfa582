"""Growing a root file system, in a real appliance: small disks that were given more space, as customise does it.

Every disk lies in one appliance and holds just enough for libguestfs to take it for an operating system.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmi.errors import BuildError
from kmi.guest.grow import make_room
from kmi.host.accel import probe
from kmi.host.guestfs import Appliance, appliance
from kmi.model.platform import Arch

MIB = 1024**2
CONTENT = os.urandom(MIB)
OS_RELEASE = "ID=debian\nVERSION_ID=12\nNAME=Debian\n"
LIKE_DEBIAN = ("--new=14:2048:+1M", "--typecode=14:EF02", "--new=15:0:+8M", "--typecode=15:EF00", "--new=1:0:0")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A disk of ``small`` MiB made ``large`` by truncate, and the MiB that its root shall have free."""

    small: int
    large: int
    room: int
    kind: str = "ext4"
    sgdisk: tuple[str, ...] = LIKE_DEBIAN
    mbr: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What ``make_room`` did. Free space in bytes; ``mounts`` is what inspection says and what was mounted after."""

    disk: Path
    before: int
    after: int
    error: BuildError | None
    content: bytes
    mounts: tuple[set[str], set[str]]
    tables: tuple[bytes, bytes]

    @property
    def partitions(self) -> dict[str, tuple[int, int]]:
        """First sector and length by number, as sfdisk on the host reads the disk."""
        dump = subprocess.run(["sfdisk", "--dump", self.disk], check=True, capture_output=True, text=True).stdout
        rows = [line.split(":") for line in dump.splitlines() if "start=" in line]
        fields = [(name.strip().removeprefix(str(self.disk)), rest.split(",")) for name, rest in rows]
        return {name: (int(rest[0].split("=")[1]), int(rest[1].split("=")[1])) for name, rest in fields}


CASES = {
    "ext4": Case(small=64, large=256, room=120),
    "ext4-to-the-end": Case(small=64, large=256, room=190),
    "mbr": Case(small=64, large=256, room=120, mbr=True),
    "xfs": Case(small=384, large=1024, room=500, kind="xfs"),
    "btrfs": Case(small=256, large=1024, room=600, kind="btrfs"),
    "enough": Case(small=64, large=256, room=8),
    "too-small": Case(small=64, large=256, room=512),
    "not-last": Case(small=64, large=256, room=120, sgdisk=("--new=1:2048:+48M", "--new=2:0:0")),
}
GROWN = ("ext4", "ext4-to-the-end", "mbr", "xfs", "btrfs")
REFUSED = {"too-small": "too small for the recipe", "not-last": "root partition cannot grow"}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder = tmp_path_factory.mktemp("grow")
    disks = {name: _disk(folder / f"{name}.raw", case) for name, case in CASES.items()}
    devices = dict(zip(CASES, (f"/dev/sd{letter}" for letter in "abcdefgh"), strict=True))
    acceleration = probe(Arch.of_machine(platform.machine()), folder)
    with appliance(list(disks.values()), acceleration=acceleration, cache=folder, log=folder / "log") as guest:
        for name, case in CASES.items():
            _populate(guest, devices[name], case)
        roots = {guest.part_to_dev(guest.mountable_device(root)): root for root in guest.inspect_os()}
        return {name: _grow(guest, roots[devices[name]], disks[name], CASES[name].room * MIB) for name in CASES}


def _disk(path: Path, case: Case) -> Path:
    with path.open("wb") as file:
        file.truncate(case.small * MIB)
    if case.mbr:
        subprocess.run(["sfdisk", path], input=b"label: dos\n2048,,L\n", check=True, capture_output=True)
    else:
        subprocess.run(["sgdisk", *case.sgdisk, path], check=True, capture_output=True)
    with path.open("r+b") as file:
        file.truncate(case.large * MIB)
    return path


def _populate(guest: Appliance, device: str, case: Case) -> None:
    root, efi = f"{device}1", f"{device}15"
    guest.mkfs(case.kind, root)
    uuid = guest.vfs_uuid(root)
    fstab = f"UUID={uuid} / {case.kind} defaults 0 1\n"
    guest.mount(root, "/")
    if case.kind == "btrfs":  # as Fedora has it: two subvolumes of one device
        guest.btrfs_subvolume_create("/root")
        guest.btrfs_subvolume_create("/home")
        guest.umount_all()
        guest.mount(f"btrfsvol:{root}/root", "/")
        fstab = f"UUID={uuid} / btrfs subvol=root 0 0\nUUID={uuid} /home btrfs subvol=home 0 0\n"
        guest.mkdir("/home")
    if efi in guest.list_partitions():
        guest.mkfs("vfat", efi)
        guest.mkdir_p("/boot/efi")
        fstab += f"UUID={guest.vfs_uuid(efi)} /boot/efi vfat defaults 0 0\n"
    for name in ("/etc", "/bin"):
        guest.mkdir(name)
    guest.write("/etc/os-release", OS_RELEASE)
    guest.write("/etc/fstab", fstab)
    guest.write("/content", CONTENT)
    guest.umount_all()


def _grow(guest: Appliance, root: str, disk: Path, room: int) -> Outcome:
    points: Mapping[str, str] = guest.inspect_get_mountpoints(root)
    guest.umount_all()
    for path in sorted(points, key=len):
        guest.mount(points[path], path)
    before, table, error = _free(guest), _table(guest, root), None
    try:
        make_room(guest, root, room)
    except BuildError as raised:
        error = raised
    return Outcome(
        disk=disk, before=before, after=_free(guest), error=error, content=guest.read_file("/content"),
        mounts=(set(points), {path for path in points if _is_mounted(guest, path)}),
        tables=(table, _table(guest, root)),
    )  # fmt: skip


def _is_mounted(guest: Appliance, path: str) -> bool:
    """A mount point is another file system than its parent's."""
    return path == "/" or guest.statns(path)["st_dev"] != guest.statns(str(Path(path).parent))["st_dev"]


def _free(guest: Appliance) -> int:
    stat = guest.statvfs("/")
    return int(stat["bavail"] * stat["bsize"])


def _table(guest: Appliance, root: str) -> bytes:
    """The disk's first MiB, before any partition: both kinds of partition table lie in it."""
    return bytes(guest.pread_device(guest.part_to_dev(guest.mountable_device(root)), MIB, 0))


@pytest.mark.parametrize("name", GROWN)
def test_the_root_has_the_room_and_its_files(outcomes: dict[str, Outcome], name: str) -> None:
    case, outcome = CASES[name], outcomes[name]
    assert outcome.error is None
    assert outcome.before < case.room * MIB <= outcome.after
    assert outcome.content == CONTENT
    assert outcome.tables[0] != outcome.tables[1]


@pytest.mark.parametrize("name", GROWN)
def test_everything_is_mounted_as_it_was(outcomes: dict[str, Outcome], name: str) -> None:
    wanted = {"/"} | ({"/boot/efi"} if not CASES[name].mbr else set()) | ({"/home"} if name == "btrfs" else set())
    assert outcomes[name].mounts == (wanted, wanted)


@pytest.mark.parametrize("name", GROWN)
def test_the_partition_grew_by_no_more_than_was_missing_and_stays_last(outcomes: dict[str, Outcome], name: str) -> None:
    case, outcome = CASES[name], outcomes[name]
    parts = outcome.partitions
    assert max(parts, key=lambda number: parts[number][0]) == "1"
    start, length = parts["1"]
    small = case.small * MIB // 512 - start
    missing = (case.room * MIB - outcome.before) // 512
    assert missing <= length - small + MIB // 512
    assert length - small <= missing * 5 // 4 + 2 * MIB // 512
    assert (start + length) * 512 <= (case.large - 1) * MIB


@pytest.mark.parametrize("name", [name for name in GROWN if not CASES[name].mbr])
def test_the_partition_table_is_valid(outcomes: dict[str, Outcome], name: str) -> None:
    verdict = subprocess.run(["sgdisk", "--verify", outcomes[name].disk], check=True, capture_output=True, text=True)
    assert "No problems found" in verdict.stdout, verdict.stdout


@pytest.mark.parametrize("name", ["enough", *REFUSED])
def test_else_the_disk_is_left_as_it_was(outcomes: dict[str, Outcome], name: str) -> None:
    outcome = outcomes[name]
    assert outcome.tables[0] == outcome.tables[1]
    assert outcome.before == outcome.after
    assert outcome.mounts[0] == outcome.mounts[1]
    assert outcome.content == CONTENT


def test_enough_room_is_no_error(outcomes: dict[str, Outcome]) -> None:
    assert outcomes["enough"].error is None


@pytest.mark.parametrize(("name", "what"), REFUSED.items())
def test_what_cannot_grow_is_refused(outcomes: dict[str, Outcome], name: str, what: str) -> None:
    error = outcomes[name].error
    assert error is not None
    assert what in error.what
