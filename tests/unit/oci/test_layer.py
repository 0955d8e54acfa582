from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kmi.errors import InternalError, VerificationError
from kmi.host.store import hash_file
from kmi.model.digest import Digest
from kmi.oci import layer
from kmi.oci.layer import Entry, disk_layer, small_layer

TIME = datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC)
DATA = bytes(range(256)) * 20 + b"odd"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


def test_holds_the_disk_and_nothing_else(disk: Path, tmp_path: Path) -> None:
    blob = disk_layer(disk, hash_file(disk), tmp_path, TIME)
    with tarfile.open(blob.path, "r:") as archive:
        members = archive.getmembers()
        file = archive.extractfile("disk/disk.qcow2")
        assert file is not None and file.read() == DATA
    assert [(m.name, m.isdir(), m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members] == [
        ("disk", True, 0o555, 107, 107, "", "", int(TIME.timestamp())),
        ("disk/disk.qcow2", False, 0o444, 107, 107, "", "", int(TIME.timestamp())),
    ]
    assert members[1].offset_data == blob.data_offset == 4096


def test_is_named_by_what_it_is(disk: Path, tmp_path: Path) -> None:
    blob = disk_layer(disk, hash_file(disk), tmp_path, TIME)
    content = blob.path.read_bytes()
    assert blob.digest.hex == hashlib.sha256(content).hexdigest() == blob.path.name
    assert blob.size == len(content)
    assert len(content) % 512 == 0 and content[-1024:] == bytes(1024)
    assert blob.path.stat().st_mode & 0o7777 == 0o444


def test_the_bytes_are_fixed_for_ever(disk: Path, tmp_path: Path) -> None:
    blob = disk_layer(disk, hash_file(disk), tmp_path, TIME)
    assert blob.digest.hex == "cc5749619cc89497e55b4f134a741a2f32ae2744150af5b74e189deea2567318"


def test_gnu_tar_reads_it(disk: Path, tmp_path: Path) -> None:
    blob = disk_layer(disk, hash_file(disk), tmp_path, TIME)
    seen = subprocess.run(["tar", "--numeric-owner", "-tvf", blob.path], capture_output=True, text=True, check=True)
    assert seen.stderr == ""
    assert [line.split()[:3] for line in seen.stdout.splitlines()] == [
        ["dr-xr-xr-x", "107/107", "0"],
        ["-r--r--r--", "107/107", str(len(DATA))],
    ]
    taken = subprocess.run(["tar", "-xOf", blob.path, "disk/disk.qcow2"], capture_output=True, check=True)
    assert taken.stdout == DATA


@pytest.mark.parametrize("size", [8**11 - 1, 8**11, 300 * 1024**3])
def test_sizes_beyond_ustar_are_read_back(size: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The headers of a disk that is larger than this machine likes to write: only its data is left out."""
    monkeypatch.setattr(layer, "_stream", lambda *_: Digest(algorithm="sha256", hex="0" * 64))
    source = tmp_path / "large"
    source.touch()
    os.truncate(source, size)
    blob = disk_layer(source, Digest(algorithm="sha256", hex="0" * 64), tmp_path, TIME)
    start = blob.path.read_bytes()[:4096]
    with tarfile.open(fileobj=io.BytesIO(start), mode="r|") as archive:
        archive.next()
        member = archive.next()
    assert member is not None
    assert (member.name, member.size, blob.data_offset) == ("disk/disk.qcow2", size, 4096)
    listed = subprocess.run(["tar", "-tvf", "-"], input=start, capture_output=True, check=False).stdout.decode()
    assert f" {size} " in listed


def test_a_changed_disk_is_refused_and_leaves_nothing(disk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(VerificationError):
        disk_layer(disk, Digest(algorithm="sha256", hex="0" * 64), out, TIME)
    assert list(out.iterdir()) == []


def test_memory_stays_small(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.touch()
    os.truncate(source, 40 * 1024**2)
    expected = hash_file(source)
    tracemalloc.start()
    disk_layer(source, expected, tmp_path, TIME)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 1024**2


def test_small_layer_keeps_modes_links_and_order(tmp_path: Path) -> None:
    entries = [
        Entry(name="a/", mode=0o755),
        Entry(name="a/run.sh", mode=0o555, data=b"#!/bin/sh\n"),
        Entry(name="a/link", mode=0o777, link="run.sh"),
        Entry(name="a/empty", mode=0o444, data=b""),
    ]
    old = os.umask(0o077)
    try:
        blob = small_layer(entries, tmp_path, TIME)
    finally:
        os.umask(old)
    with tarfile.open(blob.path, "r:") as archive:
        members = archive.getmembers()
    assert [(m.name, m.mode, m.uid, m.size, m.linkname) for m in members] == [
        ("a", 0o755, 0, 0, ""),
        ("a/run.sh", 0o555, 0, 10, ""),
        ("a/link", 0o777, 0, 0, "run.sh"),
        ("a/empty", 0o444, 0, 0, ""),
    ]
    assert members[2].issym() and members[0].isdir() and members[3].isreg()
    assert blob.path.stat().st_mode & 0o777 == 0o444


def test_refuses_what_ustar_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(InternalError):
        small_layer([Entry(name="x" * 101, mode=0o444, data=b"")], tmp_path, TIME)
    with pytest.raises(InternalError):
        small_layer([], tmp_path, datetime(2026, 1, 1))  # noqa: DTZ001 -- a naive time is what is refused


def test_busybox_tar_reads_it(disk: Path, tmp_path: Path) -> None:
    blob = disk_layer(disk, hash_file(disk), tmp_path, TIME)
    out = subprocess.run(["busybox", "tar", "-xOf", blob.path, "disk/disk.qcow2"], capture_output=True, check=True)
    assert out.stdout == DATA
