"""disk.finish on small disks: the new size, the partition table, the same bytes, an input that stays as it was."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kmi.disk.finish import finish
from kmi.errors import BuildError
from kmi.host.store import hash_file
from kmi.host.ui import Reporter
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import ImageId
from kmi.model.stages import CustomDisk, Disk, Evidence, Inventory, Origin

MIB = 1024**2


def custom(path: Path) -> CustomDisk:
    nothing = Digest(algorithm="sha256", hex="0" * 64)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return CustomDisk(
        id=ImageId(distro="debian", release="12", arch=Arch.AMD64), path=path, format="raw", customizer="appliance",
        origin=Origin(method="user", url="", checksum=nothing, build="1", released_at=now, pulled_at=now,
                      evidence=Evidence(kind="user")),
        inventory=Inventory(os_release=(), kernels=(), packages=(), archives=()),
    )  # fmt: skip


def make(path: Path, *sgdisk: str, size: int = 64 * MIB) -> Path:
    path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(size)
    if sgdisk:
        subprocess.run(["sgdisk", *sgdisk, path], check=True, capture_output=True)
        with path.open("r+b") as file:
            file.seek(8 * MIB)
            file.write(bytes(range(256)) * 4096)
    return path


def done(path: Path, out: Path, size: int = 512 * MIB) -> Disk:
    out.mkdir()
    with Reporter().step("test", "finish") as step:
        return finish(custom(path), virtual_size=size, out=out, log=out / "log", step=step)


def raw(disk: Disk, target: Path) -> Path:
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk.path, target], check=True)
    return target


def test_gpt_is_fitted_to_the_new_size_as_sgdisk_would(tmp_path: Path) -> None:
    source = make(tmp_path / "in.raw", "--new=14:2048:+3M", "--typecode=14:EF02", "--new=1:0:0", "--change-name=1:root")
    before = hash_file(source)
    disk = done(source, tmp_path / "out")
    assert hash_file(source) == before, "finish wrote its input"
    result = raw(disk, tmp_path / "out.raw")
    verdict = subprocess.run(["sgdisk", "--verify", result], check=True, capture_output=True, text=True).stdout
    assert "No problems found" in verdict

    moved = tmp_path / "sgdisk.raw"
    moved.write_bytes(source.read_bytes())
    with moved.open("r+b") as file:
        file.truncate(512 * MIB)
    subprocess.run(["sgdisk", "--move-second-header", moved], check=True, capture_output=True)
    assert result.read_bytes() == moved.read_bytes()


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    source = make(tmp_path / "in.raw", "--new=1:0:0")
    assert done(source, tmp_path / "a").digest == done(source, tmp_path / "b").digest


def test_zstd_clusters_size_and_format(tmp_path: Path) -> None:
    disk = done(make(tmp_path / "in.raw", "--new=1:0:0"), tmp_path / "out")
    info = json.loads(subprocess.run(["qemu-img", "info", "--output", "json", disk.path], capture_output=True).stdout)
    assert info["format"] == "qcow2"
    assert info["virtual-size"] == disk.virtual_size == 512 * MIB
    assert info["format-specific"]["data"]["compression-type"] == "zstd"
    assert disk.size == disk.path.stat().st_size < 2 * MIB
    assert sorted(path.name for path in disk.path.parent.iterdir()) == ["disk.qcow2", "log"]


def test_a_disk_without_gpt_only_grows(tmp_path: Path) -> None:
    source = make(tmp_path / "in.raw")
    source.write_bytes(b"content" + source.read_bytes()[7:])
    result = raw(done(source, tmp_path / "out"), tmp_path / "out.raw")
    assert result.read_bytes().rstrip(b"\0") == b"content"


def test_a_disk_larger_than_asked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="larger than asked"):
        done(make(tmp_path / "in.raw"), tmp_path / "out", size=32 * MIB)


def test_a_damaged_partition_table_is_refused(tmp_path: Path) -> None:
    source = make(tmp_path / "in.raw", "--new=1:0:0")
    with source.open("r+b") as file:
        file.seek(512 + 40)
        file.write(b"\xff")
    with pytest.raises(BuildError, match="partition table is damaged"):
        done(source, tmp_path / "out")
