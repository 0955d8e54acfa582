"""VMDKs that qemu-img made, and the same with their headers, descriptors and tables bent."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmi.disk.guard import VIRTUAL_LIMIT, check
from kmi.errors import VerificationError
from kmi.host.run import run

MIB = 1 << 20
Make = Callable[..., Path]
SPARSE, STREAM = "monolithicSparse", "streamOptimized"
FOOTED = "footed"
"""streamOptimized as VMware writes it: the header that counts is at the end. QEMU reads that, but writes none."""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vmdk")
    (folder / "disk.raw").write_bytes(bytes(range(256)) * 8192 + bytes(2 * MIB))
    for form in (SPARSE, STREAM):
        run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={form}",
             folder / "disk.raw", folder / f"{form}.vmdk"])  # fmt: skip
    data = bytearray((folder / f"{STREAM}.vmdk").read_bytes())
    real = bytes(data[:512])
    data[56:64] = u64((1 << 64) - 1)
    data += struct.pack("<QII", 1, 0, 3).ljust(512, b"\0") + real + bytes(512)
    (folder / f"{FOOTED}.vmdk").write_bytes(data)
    return folder


@pytest.fixture
def bent(made: Path, tmp_path: Path) -> Make:
    def make(*patches: tuple[int, bytes], form: str = SPARSE) -> Path:
        path = tmp_path / f"{form}.vmdk"
        shutil.copy(made / path.name, path)
        with path.open("r+b") as file:
            for offset, data in patches:
                file.seek(offset)
                file.write(data)
        return path

    return make


@pytest.fixture
def told(made: Path, tmp_path: Path) -> Make:
    """A copy whose descriptor's text is changed."""

    def make(old: str, new: str) -> Path:
        data = bytearray((made / f"{SPARSE}.vmdk").read_bytes())
        text = data[512 : 512 * 21].partition(b"\0")[0].decode()
        assert old in text
        data[512 : 512 * 21] = text.replace(old, new).encode().ljust(512 * 20, b"\0")
        path = tmp_path / "told.vmdk"
        path.write_bytes(data)
        return path

    return make


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def refused(path: Path) -> str:
    with pytest.raises(VerificationError, match="before any program opens it") as caught:
        check(path, declared="vmdk")
    return f"{caught.value.expected} | {caught.value.got}"


def alone(path: Path) -> None:
    """QEMU names no other file, and ends in time."""
    report = json.loads(run(["qemu-img", "info", "--output", "json", "-f", "vmdk", path], timeout=20).stdout)
    assert not [key for key in report if "backing" in key]
    assert [extent["filename"] for extent in report["format-specific"]["data"]["extents"]] == [str(path)]


@pytest.mark.parametrize(("form", "packed"), [(SPARSE, ""), (STREAM, "zlib"), (FOOTED, "zlib")])
def test_good_disks_tell_what_they_are(made: Path, tmp_path: Path, form: str, packed: str) -> None:
    header = check(made / f"{form}.vmdk", declared="vmdk")
    assert (header.format, header.virtual_size, header.cluster_size, header.compression) == (
        "vmdk", 4 * MIB, 65536, packed,
    )  # fmt: skip
    run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", made / f"{form}.vmdk", tmp_path / "back.raw"])
    assert (tmp_path / "back.raw").read_bytes() == (made / "disk.raw").read_bytes()


@pytest.mark.parametrize("options", ["zeroed_grain=on", "compat6=on", "adapter_type=lsilogic,hwversion=10"])
def test_disks_of_other_shapes_are_good_too(tmp_path: Path, options: str) -> None:
    disk = tmp_path / "disk.vmdk"
    run(["qemu-img", "create", "-q", "-f", "vmdk", "-o", options, disk, "64M"])
    run(["qemu-io", "-f", "vmdk", "-c", "write -P 7 1M 700k", "-c", "write -z 3M 1M", disk])
    assert check(disk, declared="vmdk").virtual_size == 64 * MIB


def test_a_real_parent_is_refused(made: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.vmdk"
    run(["qemu-img", "create", "-q", "-f", "vmdk", "-b", made / f"{SPARSE}.vmdk", "-F", "vmdk", overlay])
    assert "no parent" in refused(overlay)


@pytest.mark.parametrize("form", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_a_real_descriptor_of_other_files_is_refused(tmp_path: Path, form: str) -> None:
    disk = tmp_path / "disk.vmdk"
    run(["qemu-img", "create", "-q", "-f", "vmdk", "-o", f"subformat={form}", disk, "1M"])
    with disk.open("ab") as file:
        file.write(b"\n" * (-disk.stat().st_size % 512))
    assert "a vmdk disk" in refused(disk)


def test_a_header_without_capacity_is_refused(bent: Make, tmp_path: Path) -> None:
    """QEMU then opens the files that the descriptor names."""
    (tmp_path / "secret").write_bytes(b"root:x:0" * 64)
    text = f'CID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 1 FLAT "{tmp_path}/secret" 0\n'
    disk = bent((12, u64(0)), (512, text.encode().ljust(20 * 512, b"\0")))
    report = run(["qemu-img", "info", "--output", "json", "-f", "vmdk", disk]).stdout
    assert "secret" in report, "this is what the guard is there for"
    assert "a capacity" in refused(disk)


@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [
        (0, b"COWD", "a vmdk disk"),
        (0, b"# Disk DescriptorFile\n", "a vmdk disk"),
        (4, u32(0), "version 0"),
        (4, u32(4), "version 4"),
        (8, u32(1 << 5 | 3), "flags"),
        (8, u32(1 << 16 | 3), "agrees with the flags"),
        (12, u64(VIRTUAL_LIMIT), "a capacity"),
        (20, u64(0), "grains of"),
        (20, u64(100), "grains of"),
        (20, u64(1 << 21), "grains of"),
        (28, u64(0), "a descriptor"),
        (28, u64(2), "a descriptor"),
        (36, u64(0), "a descriptor"),
        (36, u64(1 << 40), "a descriptor"),
        (44, u32(4096), "entries in a grain table"),
        (48, u64(1 << 40), "redundant grain directory inside"),
        (56, u64(0), "a grain directory"),
        (56, u64(1 << 40), "the grain directory inside"),
        (56, u64((1 << 64) - 1), "a footer"),
        (64, u64(1 << 40), "the overhead inside"),
        (72, b"\1", "unclean"),
        (73, b"\r\n", "line ends"),
        (77, b"\1", "agrees with the flags"),
        (77, b"\2", "agrees with the flags"),
    ],
)
def test_a_bent_header_is_refused(bent: Make, offset: int, data: bytes, expected: str) -> None:
    assert expected in refused(bent((offset, data)))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("parentCID=ffffffff", "parentCID=12345678", "no parent"),
        ("parentCID=ffffffff\n", "", "no parent"),
        ("parentCID=ffffffff", 'parentCID=ffffffff\nparentFileNameHint="/etc/passwd"', "no parent"),
        ("# Extent", '# parentFileNameHint="/etc/passwd"\n# Extent', "no parent"),
        ('createType="monolithicSparse"', 'createType="monolithicFlat"', "createType"),
        ('createType="monolithicSparse"', 'createType="custom"', "createType"),
        ('"monolithicSparse.vmdk"', '"/etc/passwd"', "one sparse extent"),
        ('"monolithicSparse.vmdk"', '"../other.vmdk"', "one sparse extent"),
        (' SPARSE "monolithicSparse.vmdk"', ' FLAT "disk-flat.vmdk" 0', "one sparse extent"),
        (' SPARSE "monolithicSparse.vmdk"', ' VMFS "disk-flat.vmdk"', "one sparse extent"),
        (' SPARSE "monolithicSparse.vmdk"', " ZERO", "one sparse extent"),
        ("RW 8192", 'RW 1 SPARSE "other.vmdk"\nRW 8192', "one sparse extent"),
        ("RW 8192", "XX 8192", "known lines"),
        ("version=1", "version=1\nCID=1", "known lines"),
        ("version=1", "version=1\nchangeTrackPath=/etc/passwd", "known lines"),
        ("version=1", "version=1\nencryption.keySafe = x", "known lines"),
        ("version=1", "version=1\nnot a setting at all", "known lines"),
    ],
)
def test_a_bent_descriptor_is_refused(told: Make, old: str, new: str, expected: str) -> None:
    assert expected in refused(told(old, new))


def test_the_name_of_a_parent_hidden_behind_the_descriptor_is_refused(bent: Make) -> None:
    """QEMU reads 20 sectors whatever the header says; here it says 1."""
    disk = bent((36, u64(1)), (512 * 15, b'parentFileNameHint="/etc/passwd"'))
    assert "no parent" in refused(disk)


@pytest.mark.parametrize("form", [SPARSE, STREAM, FOOTED])
def test_tables_and_grains_outside_the_file_are_refused(bent: Make, form: str) -> None:
    disk = bent(form=form)
    data = disk.read_bytes()
    header = len(data) - 1024 if form == FOOTED else 0
    directory = struct.unpack("<Q", data[header + 56 : header + 64])[0] * 512
    table = struct.unpack("<I", data[directory : directory + 4])[0] * 512
    assert "a grain table inside" in refused(bent((directory, u32(1 << 31)), form=form))
    assert "every grain inside" in refused(bent((table, u32(1 << 31)), form=form))
    assert "behind the overhead" in refused(bent((table, u32(2)), form=form))
    assert "behind the overhead" in refused(bent((table, u32(1)), form=form)), "zeroed grains have a flag"
    if form != SPARSE:
        grain = struct.unpack("<I", data[table : table + 4])[0] * 512
        assert "bytes at sector" in refused(bent((grain + 8, u32(1 << 30)), form=form))
        assert "bytes at sector" in refused(bent((grain + 8, u32(0)), form=form))


def test_a_grain_table_twice_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk.vmdk"
    run(["qemu-img", "create", "-q", "-f", "vmdk", disk, "64M"])
    data = bytearray(disk.read_bytes())
    at = struct.unpack("<Q", data[56:64])[0] * 512
    data[at + 4 : at + 8] = data[at : at + 4]
    disk.write_bytes(data)
    assert "of their own" in refused(disk)


def test_a_footer_that_says_something_else_is_refused(bent: Make) -> None:
    size = bent(form=FOOTED).stat().st_size
    for offset, data in (
        (size - 1536 + 12, u32(2)),
        (size - 512 + 12, u32(3)),
        (size - 1024, b"COWD"),
        (size - 1024 + 12, u64(0)),
        (size - 1024 + 12, u64(4 * MIB)),
        (size - 1024 + 56, u64((1 << 64) - 1)),
    ):
        refused(bent((offset, data), form=FOOTED))


@pytest.mark.parametrize("form", [SPARSE, STREAM, FOOTED])
@pytest.mark.parametrize("length", [0, 79, 511, 512, 10752, 65536, 100_001, 2 * MIB])
def test_a_cut_disk_is_refused(bent: Make, form: str, length: int) -> None:
    disk = bent(form=form)
    with disk.open("r+b") as file:
        file.truncate(min(length, disk.stat().st_size - 65536))
    refused(disk)


patches = st.lists(
    st.tuples(st.integers(0, 1200) | st.integers(0, 200_000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4
)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(patches, st.sampled_from([SPARSE, STREAM, FOOTED]))
def test_what_is_accepted_is_one_file_to_qemu_too(bent: Make, patches: list[tuple[int, bytes]], form: str) -> None:
    disk = bent(*patches, form=form)
    try:
        check(disk, declared="vmdk")
    except VerificationError:
        return
    alone(disk)
