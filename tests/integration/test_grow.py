"""Growing a root file system, in a real appliance: small disks that were given more space, as customise does it.

A disk holds just enough for libguestfs to take it for an operating system.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmi.errors import BuildError
from kmi.guest.customize import mount
from kmi.guest.grow import make_room
from kmi.host.accel import Acceleration, probe
from kmi.host.guestfs import Appliance, appliance
from kmi.model.platform import Arch

MIB = 1024**2
SECTOR = 512
CONTENT = os.urandom(MIB)
DISK, ROOT, EFI = "/dev/sda", "/dev/sda1", "/dev/sda15"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A disk of ``small`` MiB made ``large`` by truncate, and the MiB that its root shall have free."""

    kind: str
    label: str
    small: int
    large: int
    room: int
    mounts: frozenset[str]


CASES = {
    "ext4": Case(kind="ext4", label="gpt", small=64, large=256, room=120, mounts=frozenset({"/", "/boot/efi"})),
    "xfs": Case(kind="xfs", label="dos", small=384, large=1024, room=500, mounts=frozenset({"/"})),
}
"""btrfs is missing: about one launch in four gives its subvolumes another disk name than its partitions have, and then
growing is refused (nothing is changed). A test that fails by chance proves nothing; see docs/architecture.md."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one call of ``make_room`` did: free bytes and the partition table before and after, and how it ended."""

    free: tuple[int, int]
    tables: tuple[bytes, bytes]
    error: BuildError | None
    content: bytes
    mounts: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Grown:
    """A disk after all calls, which were made in the order of ``calls``."""

    case: Case
    disk: Path
    calls: dict[str, Outcome]

    @property
    def partitions(self) -> dict[str, tuple[int, int]]:
        """First sector and length by number, as sfdisk on the host reads the disk."""
        dump = subprocess.run(["sfdisk", "--dump", self.disk], check=True, capture_output=True, text=True).stdout
        rows = [line.removeprefix(str(self.disk)).split(":") for line in dump.splitlines() if "start=" in line]
        numbers = {name.strip(): [field.split("=")[-1] for field in rest.split(",")] for name, rest in rows}
        return {name: (int(start), int(size)) for name, (start, size, *_) in numbers.items()}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> tuple[Acceleration, Path]:
    cache = tmp_path_factory.mktemp("cache")
    return probe(Arch.of_machine(platform.machine()), cache), cache


@pytest.fixture(scope="module", params=CASES)
def grown(
    request: pytest.FixtureRequest, machine: tuple[Acceleration, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Grown]:
    case, folder = CASES[request.param], tmp_path_factory.mktemp("grow")
    acceleration, cache = machine
    disk = _disk(folder / "disk.raw", case)
    with appliance([disk], acceleration=acceleration, cache=cache, log=folder / "log") as guest:
        _populate(guest, case)
        root = mount(guest)
        calls = {
            "enough": _call(guest, root, 8),
            "too-small": _call(guest, root, case.large),
            "room": _call(guest, root, case.room),
            "again": _call(guest, root, case.room),
        }
        end = max(int(part["part_end"]) for part in guest.part_list(DISK))
        guest.part_add(DISK, "p", end // SECTOR + 1, (case.large - 2) * MIB // SECTOR - 1)
        calls["not-last"] = _call(guest, root, _free(guest) // MIB + 8)
        guest.part_del(DISK, 2)
    yield Grown(case=case, disk=disk, calls=calls)
    disk.unlink()


def _disk(path: Path, case: Case) -> Path:
    """The partitions of Debian's cloud images, or the one of an older image."""
    gpt = "label: gpt\n14: start=2048, size=1MiB, type=21686148-6449-6E6F-744E-656564454649\n"
    gpt += "15: size=8MiB, type=U\n1: type=L\n"
    path.touch()
    os.truncate(path, case.small * MIB)
    script = gpt if case.label == "gpt" else "label: dos\n1: start=2048, type=L\n"
    subprocess.run(["sfdisk", path], input=script.encode(), check=True, capture_output=True)
    os.truncate(path, case.large * MIB)
    return path


def _populate(guest: Appliance, case: Case) -> None:
    guest.mkfs(case.kind, ROOT)
    uuid = guest.vfs_uuid(ROOT)
    fstab = f"UUID={uuid} / {case.kind} defaults 0 1\n"
    guest.mount(ROOT, "/")
    if case.label == "gpt":
        guest.mkfs("vfat", EFI)
        guest.mkdir_p("/boot/efi")
        fstab += f"UUID={guest.vfs_uuid(EFI)} /boot/efi vfat defaults 0 0\n"
    for name in ("/etc", "/bin"):
        guest.mkdir(name)
    guest.write("/etc/os-release", "ID=debian\nVERSION_ID=12\nNAME=Debian\n")
    guest.write("/etc/fstab", fstab)
    guest.write("/content", CONTENT)
    guest.umount_all()


def _call(guest: Appliance, root: str, room: int) -> Outcome:
    free, table, error = _free(guest), _table(guest), None
    try:
        make_room(guest, root, room * MIB)
    except BuildError as raised:
        error = raised
    return Outcome(
        free=(free, _free(guest)), tables=(table, _table(guest)), error=error, content=guest.read_file("/content"),
        mounts=frozenset(path for path in ("/", "/boot/efi", "/home") if _is_mounted(guest, path)),
    )  # fmt: skip


def _is_mounted(guest: Appliance, path: str) -> bool:
    """A mount point is another file system than its parent's."""
    parent = str(Path(path).parent)
    return path == "/" or (
        guest.is_dir(path) and guest.statns(path)["st_dev"] != guest.statns(parent)["st_dev"]
    )  # fmt: skip


def _free(guest: Appliance) -> int:
    stat = guest.statvfs("/")
    return int(stat["bavail"] * stat["bsize"])


def _table(guest: Appliance) -> bytes:
    """The disk's first MiB, before any partition: both kinds of partition table lie in it."""
    return bytes(guest.pread_device(DISK, MIB, 0))


def test_the_root_has_the_room_and_its_files(grown: Grown) -> None:
    call = grown.calls["room"]
    assert call.error is None
    assert call.free[0] < grown.case.room * MIB <= call.free[1]
    assert call.tables[0] != call.tables[1]
    assert call.content == CONTENT


def test_everything_is_mounted_as_it_was(grown: Grown) -> None:
    assert {call.mounts for call in grown.calls.values()} == {grown.case.mounts}


def test_the_partition_grew_by_what_was_missing_and_is_the_last(grown: Grown) -> None:
    parts = grown.partitions
    assert max(parts, key=lambda number: parts[number][0]) == "1"
    start, length = parts["1"]
    grew = (start + length) * SECTOR - grown.case.small * MIB
    missing = grown.case.room * MIB - grown.calls["room"].free[0]
    assert missing - MIB <= grew <= missing * 5 // 4 + MIB
    assert (start + length) * SECTOR <= (grown.case.large - 1) * MIB


def test_the_partition_table_is_valid(grown: Grown) -> None:
    if grown.case.label == "gpt":
        verdict = subprocess.run(["sgdisk", "--verify", grown.disk], check=True, capture_output=True, text=True).stdout
        assert "No problems found" in verdict, verdict
    else:
        subprocess.run(["sfdisk", "--verify", grown.disk], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("enough", None),
        ("again", None),
        ("too-small", "too small for the recipe"),
        ("not-last", "root partition cannot"),
    ],
)
def test_else_the_disk_is_left_as_it_was(grown: Grown, name: str, what: str | None) -> None:
    call = grown.calls[name]
    assert (call.error is None) == (what is None), call.error
    assert call.error is None or str(what) in call.error.what, call.error
    assert call.tables[0] == call.tables[1]
    assert call.free[0] == call.free[1]
    assert call.content == CONTENT
