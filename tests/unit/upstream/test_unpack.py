"""From what a publisher serves to the disk in it."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmi.disk.compression import Cap
from kmi.errors import VerificationError
from kmi.host.ui import Reporter, Step
from kmi.model.spec import Packing
from kmi.upstream.unpack import unpack

DISK = hashlib.shake_256(b"disk").digest(100_000) + bytes(2 << 20)
PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes, "gz": gzip.compress, "xz": lambda data: lzma.compress(data, preset=0), "bz2": bz2.compress,
    "zst": zstd.compress,
}  # fmt: skip
Entry = tuple[str, bytes] | tuple[str, bytes, bytes]


def tar(*members: Entry) -> bytes:
    """Members are name and content, and the type where it is no plain file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data, *kind in members:
            info = tarfile.TarInfo(name)
            info.size, info.linkname = len(data), "/etc/passwd" if kind else ""
            info.type = kind[0] if kind else tarfile.REGTYPE
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def unpacked(folder: Path, data: bytes, cap: Cap | None = None, **packing: str) -> bytes:
    (folder / "served").write_bytes(data)
    target = folder / "disk"
    reporter = Reporter(io.StringIO())
    digests = unpack(
        folder / "served",
        target,
        packing=Packing(**packing),
        where="here",
        algorithms=["sha256", "sha512"],
        cap=cap,
        step=Step(reporter, "tiny", "fetch"),
    )
    data = target.read_bytes()
    assert digests["sha256"].hex == hashlib.sha256(data).hexdigest()
    assert digests["sha512"].hex == hashlib.sha512(data).hexdigest()
    return data


def refused(folder: Path, data: bytes, cap: Cap | None = None, **packing: str) -> str:
    with pytest.raises(VerificationError) as caught:
        unpacked(folder, data, cap, **packing)
    assert caught.value.exit_code == 4
    assert sorted(path.name for path in folder.iterdir()) == ["served"], "nothing half is left"
    return str(caught.value)


@pytest.mark.parametrize("kind", PACK)
def test_a_compressed_disk(tmp_path: Path, kind: str) -> None:
    assert unpacked(tmp_path, PACK[kind](DISK), compression=kind) == DISK
    assert (tmp_path / "disk").stat().st_blocks * 512 < 1 << 20, "zeros take no room"


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("member", ["", "disk.raw", "./disk.raw"])
def test_a_disk_in_an_archive(tmp_path: Path, kind: str, member: str) -> None:
    archive = tar(("./", b"", tarfile.DIRTYPE), ("README", b"x" * 700), ("./disk.raw", DISK), ("sums", b"y"))
    assert unpacked(tmp_path, PACK[kind](archive), compression=kind, archive="tar", member=member) == DISK


def test_what_gnu_tar_makes(tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(DISK)
    made = subprocess.run(["tar", "-C", tmp_path, "-cJ", "disk.raw"], check=True, capture_output=True).stdout
    (tmp_path / "disk.raw").unlink()
    assert unpacked(tmp_path, made, compression="xz", archive="tar") == DISK


def test_one_of_several_disks_goes_by_its_name(tmp_path: Path) -> None:
    archive = tar(("bios/disk.qcow2", b"one"), ("uefi/disk.qcow2", b"two"))
    assert unpacked(tmp_path, archive, archive="tar", member="uefi/disk.qcow2") == b"two"
    (tmp_path / "disk").unlink()
    assert "one file that ends in" in refused(tmp_path, archive, archive="tar")


@pytest.mark.parametrize("member", ["other.raw", "disk", "DISK.RAW", "sub/disk.raw"])
def test_a_member_that_is_not_there(tmp_path: Path, member: str) -> None:
    assert "['disk.raw']" in refused(tmp_path, tar(("disk.raw", DISK)), archive="tar", member=member)


def test_no_disk_at_all(tmp_path: Path) -> None:
    refused(tmp_path, tar(("README", b"x")), archive="tar")
    refused(tmp_path, tar(), archive="tar")
    refused(tmp_path, tar(("disk.raw", b"", tarfile.DIRTYPE)), archive="tar", member="disk.raw")


HOSTILE: dict[str, tuple[Entry, str]] = {
    "climbs": (("../disk.img", b"x"), "below the archive's top"),
    "climbs in the middle": (("a/../../disk.img", b"x"), "below the archive's top"),
    "absolute": (("/etc/cron.d/x", b"x"), "below the archive's top"),
    "symbolic link": (("link", b"", tarfile.SYMTYPE), "a symbolic link"),
    "hard link": (("link", b"", tarfile.LNKTYPE), "a hard link"),
    "character device": (("device", b"", tarfile.CHRTYPE), "a device"),
    "block device": (("device", b"", tarfile.BLKTYPE), "a device"),
    "fifo": (("fifo", b"", tarfile.FIFOTYPE), "a fifo"),
    "sparse": (("hole", b"", tarfile.GNUTYPE_SPARSE), "a sparse file"),
    "unknown": (("what", b"", b"Z"), "a type"),
    "the same name": (("disk.raw", b"other"), "again"),
    "the same name otherwise": (("./x/../disk.raw", b"other"), "below the archive's top"),
    "the same name with slashes": ((".//disk.raw", b"other"), "again"),
    "a second disk": (("other.qcow2", b"x"), "one file that ends in"),
}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_member_anywhere_is_refused(tmp_path: Path, case: str, first: bool) -> None:
    entry, told = HOSTILE[case]
    good = ("disk.raw", DISK)
    archive = tar(entry, good) if first else tar(good, entry)
    assert told in refused(tmp_path, archive, archive="tar")
    assert told in refused(tmp_path, gzip.compress(archive), compression="gz", archive="tar")


def test_the_disk_itself_as_a_link_is_refused(tmp_path: Path) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        refused(tmp_path, tar(("disk.raw", b"", kind)), archive="tar", member="disk.raw")


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    many = [(f"file-{number}", b"") for number in range(1001)]
    assert "at most 1000" in refused(tmp_path, tar(("disk.raw", DISK), *many), archive="tar")


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
def test_a_bomb_is_refused(tmp_path: Path, kind: str) -> None:
    cap = Cap(free=1 << 20, ratio=10)
    assert "too much" in refused(tmp_path, PACK[kind](bytes(8 << 20)), cap, compression=kind)
    assert "too much" in refused(
        tmp_path, PACK[kind](tar(("disk.raw", bytes(8 << 20)))), cap, compression=kind, archive="tar"
    )
    assert "too much" in refused(
        tmp_path, PACK[kind](tar(("disk.raw", DISK)) + bytes(8 << 20)), cap, compression=kind, archive="tar"
    )


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 30), st.booleans())
def test_a_cut_file_is_refused(tmp_path: Path, kind: str, cut: int, archive: bool) -> None:
    data = PACK[kind](tar(("disk.raw", DISK)) if archive else DISK)
    refused(tmp_path, data[: cut % len(data)], compression=kind, archive="tar" if archive else "")


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
def test_a_cut_behind_the_archives_end_is_found(tmp_path: Path, kind: str) -> None:
    """The disk is whole by then; the stream's checksum is not."""
    data = PACK[kind](tar(("disk.raw", DISK)))
    assert "it is cut" in refused(tmp_path, data[:-1], compression=kind, archive="tar")


def test_a_page_of_html_is_refused(tmp_path: Path) -> None:
    page = b"<!DOCTYPE html><html><body>Log in</body></html>" * 20
    for kind in ("gz", "xz", "bz2", "zst"):
        assert "it is damaged" in refused(tmp_path, page, compression=kind)
    assert "not a sound tar archive" in refused(tmp_path, page, archive="tar")
