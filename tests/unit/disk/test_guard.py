"""Disks that qemu-img made, and the same with their headers bent."""

from __future__ import annotations

import json
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmi.disk.guard import VIRTUAL_LIMIT, Header, check
from kmi.errors import VerificationError
from kmi.host.run import run

MIB = 1 << 20
Make = Callable[..., Path]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disks")
    (folder / "disk.raw").write_bytes(bytes(range(256)) * 8192)
    for name, options in (("plain", "cluster_size=64k"), ("old", "compat=0.10"), ("zstd", "compression_type=zstd")):
        run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", options,
             folder / "disk.raw", folder / f"{name}.qcow2"])  # fmt: skip
    return folder


@pytest.fixture
def bent(made: Path, tmp_path: Path) -> Make:
    """A copy of a disk with bytes put at offsets."""

    def make(*patches: tuple[int, bytes], name: str = "plain.qcow2") -> Path:
        path = tmp_path / name
        shutil.copy(made / name, path)
        with path.open("r+b") as file:
            for offset, data in patches:
                file.seek(offset)
                file.write(data)
        return path

    return make


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def u64(value: int) -> bytes:
    return struct.pack(">Q", value)


def alone(path: Path, form: str) -> None:
    """QEMU names no other file, ends in time, and can follow every table (2 and 3: only the counts may be wrong)."""
    report = json.loads(run(["qemu-img", "info", "--output", "json", "-f", form, path], timeout=20).stdout)
    assert report["format"] == form
    assert not [key for key in report if "backing" in key]
    assert "data-file" not in json.dumps(report["format-specific"])
    run(["qemu-img", "check", "-q", "-f", form, path], timeout=60, ok=(0, 2, 3))


def refused(path: Path, declared: str = "qcow2") -> str:
    with pytest.raises(VerificationError) as caught:
        check(path, declared=declared)
    assert caught.value.exit_code == 4
    return f"{caught.value.expected} | {caught.value.got}"


def test_good_disks_tell_what_they_are(made: Path) -> None:
    expected = Header(format="qcow2", virtual_size=2 * MIB, cluster_size=65536, compression="zlib")
    assert check(made / "plain.qcow2", declared="qcow2") == expected
    assert check(made / "old.qcow2", declared="qcow2") == expected
    assert check(made / "zstd.qcow2", declared="qcow2").compression == "zstd"
    assert check(made / "disk.raw", declared="raw") == Header(format="raw", virtual_size=2 * MIB)


@pytest.mark.parametrize(
    "options",
    [
        "cluster_size=512",
        "cluster_size=2M",
        "preallocation=metadata",
        "lazy_refcounts=on",
        "refcount_bits=1",
        "refcount_bits=64",
        "preallocation=full",
        "compat=0.10",
        "compression_type=zstd",
    ],
)
def test_disks_of_other_shapes_are_good_too(tmp_path: Path, options: str) -> None:
    path = tmp_path / "other.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, "8M"])
    run(["qemu-io", "-f", "qcow2", "-c", "write -P 7 1M 700k", "-c", "write -z 3M 1M", "-c", "discard 1M 64k", path])
    assert check(path, declared="qcow2").virtual_size == 8 * MIB


def test_a_disk_inside_another_file(made: Path, tmp_path: Path) -> None:
    disk = (made / "zstd.qcow2").read_bytes()
    layer = tmp_path / "layer.tar"
    layer.write_bytes(b"\0" * 4096 + disk + b"\0" * 1024)
    header = check(layer, declared="qcow2", offset=4096, size=len(disk))
    assert header == check(made / "zstd.qcow2", declared="qcow2")
    for offset, size in ((0, len(disk)), (4096, len(disk) + 4096), (4096, 100)):
        with pytest.raises(VerificationError):
            check(layer, declared="qcow2", offset=offset, size=size)


def test_a_real_backing_file_is_refused(made: Path, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", made / "disk.raw", "-F", "raw", overlay])
    assert "backing file" in refused(overlay)


def test_a_real_external_data_file_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "meta.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data'}", disk, "1M"])
    assert "external data file" in refused(disk)


def test_a_real_encrypted_disk_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "secret.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=x",
         "-o", "encrypt.format=aes,encrypt.key-secret=s", disk, "1M"])  # fmt: skip
    assert "encryption" in refused(disk)


def test_a_real_snapshot_is_refused(bent: Make) -> None:
    disk = bent()
    run(["qemu-img", "snapshot", "-c", "before", disk])
    assert "1 snapshots" in refused(disk)


def test_extended_l2_entries_are_refused(tmp_path: Path) -> None:
    disk = tmp_path / "extended.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=64k", disk, "1M"])
    assert "extended L2" in refused(disk)


def test_a_disk_of_an_exbibyte_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "bomb.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", disk, str(1 << 60)])
    assert str(1 << 60) in refused(disk)


@pytest.mark.parametrize(
    ("offset", "data", "told"),
    [
        (0, b"QFI\0", "a qcow2 disk"),
        (4, u32(1), "version 1"),
        (4, u32(4), "version 4"),
        (8, u64(512), "backing file"),
        (16, u32(4), "backing file"),
        (20, u32(8), "cluster_bits 8"),
        (20, u32(22), "cluster_bits 22"),
        (24, u64(0), "a virtual size"),
        (24, u64(VIRTUAL_LIMIT + 1), "a virtual size"),
        (32, u32(1), "encryption method 1"),
        (32, u32(2), "encryption method 2"),
        (36, u32(0), "an L1 table"),
        (36, u32(5 << 20), "an L1 table"),
        (40, u64(0), "the L1 table at clusters of its own"),
        (40, u64(65537), "the L1 table at clusters of its own"),
        (40, u64(1 << 40), "the L1 table inside"),
        (48, u64(1 << 62), "the refcount table inside"),
        (48, u64(512), "refcount table at clusters of its own"),
        (56, u32(0), "refcount table of sane size"),
        (56, u32(1 << 31), "refcount table of sane size"),
        (60, u32(1), "1 snapshots"),
        (64, u64(65536), "snapshots at byte 65536"),
        (72, u64(1), "dirty"),
        (72, u64(2), "corrupt"),
        (72, u64(4), "external data file"),
        (72, u64(8), "agrees with its feature bit"),
        (72, u64(16), "extended L2"),
        (72, u64(1 << 40), "known features"),
        (80, u64(2), "compatible feature bits 0x2"),
        (88, u64(1), "autoclear feature bits 0x1"),
        (88, u64(2), "autoclear feature bits 0x2"),
        (96, u32(7), "refcount order"),
        (100, u32(103), "a header of"),
        (100, u32(1 << 20), "a header of"),
        (104, b"\1", "agrees with its feature bit"),
        (104, b"\2", "compression type 2"),
        (112, u32(0xE2792ACA), "a header extension for backing file"),
        (112, u32(0x44415441), "a header extension for external data file"),
        (112, u32(0x0537BE77), "a header extension for encryption"),
        (112, u32(0x23852875), "a header extension for bitmaps"),
        (112, u32(0x12345678), "one of type 0x12345678"),
        (116, u32(0xFFFFFFF0), "inside the first cluster"),
    ],
)
def test_a_bent_header_is_refused(bent: Make, offset: int, data: bytes, told: str) -> None:
    assert told in refused(bent((offset, data)))


def tables(disk: Path) -> tuple[int, int, int]:
    """Where the first L2 table, the refcount table and its first block are."""
    data = disk.read_bytes()
    l1, refs = (struct.unpack(">Q", data[at : at + 8])[0] for at in (40, 48))
    l2 = struct.unpack(">Q", data[l1 : l1 + 8])[0] & ~(1 << 63)
    return l2, refs, struct.unpack(">Q", data[refs : refs + 8])[0]


def test_an_l2_table_outside_the_file_or_on_another_table_is_refused(bent: Make) -> None:
    disk = bent()
    l1 = struct.unpack(">Q", disk.read_bytes()[40:48])[0]
    _, refs, block = tables(disk)
    assert "an L2 table inside" in refused(bent((l1, u64(1 << 63 | 1 << 40))))
    assert "reserved bits" in refused(bent((l1, u64(1 << 63 | 1))))
    for other in (l1, refs, block):
        assert "another table's" in refused(bent((l1, u64(1 << 63 | other))))


def test_a_second_l1_entry_for_the_same_l2_table_is_refused(tmp_path: Path) -> None:
    """Else a small file could have kmi read one table four million times."""
    disk = tmp_path / "disk.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata,cluster_size=4k", disk, "8M"])
    check(disk, declared="qcow2")
    l1 = struct.unpack(">Q", disk.read_bytes()[40:48])[0]
    data = disk.read_bytes()
    disk.write_bytes(data[: l1 + 8] + data[l1 : l1 + 8] + data[l1 + 16 :])
    assert "another table's" in refused(disk)


def test_an_l1_entry_behind_the_disks_end_is_refused(bent: Make) -> None:
    l1 = struct.unpack(">Q", bent().read_bytes()[40:48])[0]
    check(bent((36, u32(2))), declared="qcow2")
    assert "foreign entries" in refused(bent((36, u32(2)), (l1 + 8, u64(1 << 63 | 5 << 16))))


def test_a_refcount_block_outside_the_file_or_on_another_table_is_refused(bent: Make) -> None:
    l2, refs, _ = tables(bent())
    assert "a refcount block inside" in refused(bent((refs, u64(1 << 40))))
    assert "a refcount block at clusters" in refused(bent((refs, u64(512))))
    assert "another table's" in refused(bent((refs, u64(l2))))


def compressed(start: int, sectors: int, bits: int = 16) -> bytes:
    return u64(1 << 62 | sectors << (62 - (bits - 8)) | start)


def test_a_cluster_outside_the_file_or_on_a_table_is_refused(bent: Make) -> None:
    disk = bent()
    l2, refs, block = tables(disk)
    size = disk.stat().st_size
    entries = [
        u64(1 << 63 | 1 << 40), u64(-(-size // 65536) * 65536), u64(65536 + 512), u64(2), u64(1 << 61 | 65536),
        compressed(1 << 40, 0), compressed(size // 512 * 512, 2), compressed(size, 0),
        compressed(size // 512 * 512 - 512, 255),        u64(1 << 63 | 1 << 62 | l2 + 65536),
        *(u64(at) for at in (refs, block, l2)), *(compressed(at, 1) for at in (0, refs, block, l2 + 1024)),
    ]  # fmt: skip
    for entry in entries:
        assert "every cluster inside" in refused(bent((l2, entry))), entry.hex()


def test_a_file_may_end_in_its_last_cluster(bent: Make) -> None:
    """As QEMU leaves it: block/qcow2-refcount.c, "Last cluster of qcow2 image may be semi-allocated"."""
    disk = bent()
    size = disk.stat().st_size
    l2, _, _ = tables(disk)
    assert size % 65536, "the tail is a part of a cluster"
    check(bent((l2, u64(1 << 63 | size // 65536 * 65536))), declared="qcow2")
    check(bent((l2, u64(1))), declared="qcow2")
    refused(bent((32 + 8, u64(0))))


def test_version_2_knows_no_zero_clusters(bent: Make) -> None:
    l2, _, _ = tables(bent(name="old.qcow2"))
    assert "every cluster" in refused(bent((l2, u64(1)), name="old.qcow2"))


@pytest.mark.parametrize("length", [0, 3, 71, 100, 511, 4096, 65536, 200_000])
def test_a_cut_disk_is_refused(bent: Make, length: int) -> None:
    disk = bent()
    with disk.open("r+b") as file:
        file.truncate(length)
    refused(disk)


def test_a_raw_disk_posing_as_qcow2_and_the_other_way(made: Path) -> None:
    assert "a qcow2 disk" in refused(made / "disk.raw")
    assert "the signature of qcow2" in refused(made / "plain.qcow2", "raw")


@pytest.mark.parametrize("form", ["vmdk", "vdi", "vhdx", "vpc", "qed", "parallels"])
def test_a_disk_of_another_format_posing_as_raw(made: Path, tmp_path: Path, form: str) -> None:
    disk = tmp_path / f"disk.{form}"
    run(["qemu-img", "convert", "-f", "raw", "-O", form, made / "disk.raw", disk])
    assert "the signature of" in refused(disk, "raw")


def test_raw_disks_have_whole_sectors_and_sane_sizes(tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"\0" * 1000)
    assert "whole sectors" in refused(disk, "raw")
    with disk.open("r+b") as file:
        file.truncate(VIRTUAL_LIMIT + 512)
    assert "at most" in refused(disk, "raw")


def test_a_format_is_never_guessed(made: Path) -> None:
    assert "format raw or qcow2 or vmdk" in refused(made / "plain.qcow2", "auto")


patches = st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)
fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzzed
@given(patches)
def test_no_header_makes_it_fail_otherwise(bent: Make, patches: list[tuple[int, bytes]]) -> None:
    try:
        header = check(bent(*patches), declared="qcow2")
    except VerificationError:
        return
    assert 0 < header.virtual_size <= VIRTUAL_LIMIT


@settings(fuzzed, max_examples=40)
@given(
    patches | st.lists(st.tuples(st.integers(0, 300_000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)
)
def test_what_is_accepted_is_one_file_to_qemu_too(bent: Make, patches: list[tuple[int, bytes]]) -> None:
    disk = bent(*patches)
    try:
        check(disk, declared="qcow2")
    except VerificationError:
        return
    alone(disk, "qcow2")


@pytest.mark.parametrize("at", [8, 16, 24, 36, 40, 48, 56, 60, 64, 72, 80, 88, 96, 100, 104])
def test_each_field_of_the_header_bit_by_bit(bent: Make, at: int) -> None:
    """What remains of one flipped bit, and whether QEMU sees one file in it."""
    good = bent().read_bytes()[at : at + 8]
    for bit in range(64):
        flipped = u64(struct.unpack(">Q", good)[0] ^ 1 << bit)
        try:
            check(bent((at, flipped)), declared="qcow2")
        except VerificationError:
            continue
        if bit % 8 == 0:
            alone(bent((at, flipped)), "qcow2")


def test_a_large_disk_is_looked_through_in_seconds(tmp_path: Path) -> None:
    disk = tmp_path / "large.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", disk, "16G"])
    began = time.monotonic()
    assert check(disk, declared="qcow2").virtual_size == 16 << 30
    assert time.monotonic() - began < 10
