import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from backports import zstd

from kmi.boot import layerdisk
from kmi.disk import compression
from kmi.disk.compression import Cap
from kmi.errors import VerificationError
from kmi.model.digest import Digest

RAW = bytes(range(256)) * 4096  # 1 MiB


def blob(layout: Path, data: bytes) -> dict:
    digest = hashlib.sha256(data).hexdigest()
    (layout / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (layout / "blobs/sha256" / digest).write_bytes(data)
    return {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{digest}", "size": len(data)}


def tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def image(layout: Path, *layers: bytes) -> Digest:
    manifest = {"schemaVersion": 2, "layers": [blob(layout, layer) for layer in layers]}
    return Digest.parse(blob(layout, json.dumps(manifest).encode())["digest"])


def qcow2(folder: Path, *options: str) -> bytes:
    target = folder / "made.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(target), "64M"], check=True)
    return target.read_bytes()


def content(disk: layerdisk.LayerDisk) -> bytes:
    return disk.file.read_bytes()[disk.offset : disk.offset + disk.size]


def test_the_disk_is_a_range_of_the_layers_own_blob(tmp_path):
    manifest = image(tmp_path, tar({"etc/os-release": b"x"}), tar({"disk/": b"", "disk/disk.img": RAW}))
    disk = layerdisk.locate(tmp_path, manifest, tmp_path)
    assert (disk.format, disk.size, content(disk)) == ("raw", len(RAW), RAW)
    assert disk.file.parent == tmp_path / "blobs/sha256" and disk.offset > 0


def test_a_gzip_layer_is_copied_out(tmp_path):
    manifest = image(tmp_path, gzip.compress(tar({"./disk/any-name": RAW}), 1))
    (tmp_path / "scratch").mkdir()
    disk = layerdisk.locate(tmp_path, manifest, tmp_path / "scratch")
    assert (disk.offset, content(disk)) == (0, RAW)
    assert disk.file.parent == tmp_path / "scratch"


def test_qcow2_is_told_by_its_magic(tmp_path):
    disk = layerdisk.locate(tmp_path, image(tmp_path, tar({"disk/disk.qcow2": qcow2(tmp_path)})), tmp_path)
    assert disk.format == "qcow2"
    assert disk.node["file"] == {
        "driver": "raw", "offset": disk.offset, "size": disk.size,
        "file": {"driver": "file", "filename": str(disk.file)},
    }  # fmt: skip


def test_the_overlay_has_the_disks_virtual_size_and_content(tmp_path):
    disk = layerdisk.locate(tmp_path, image(tmp_path, tar({"disk/disk.img": RAW, "other": b"y" * 700})), tmp_path)
    layerdisk.overlay(disk, tmp_path / "overlay.qcow2")
    converted = tmp_path / "flat.img"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(tmp_path / "overlay.qcow2"), str(converted)], check=True)
    assert converted.read_bytes() == RAW


@pytest.mark.parametrize("which", [0, 1])
def test_a_changed_layer_is_refused_even_if_the_disk_is_elsewhere(tmp_path, which):
    layers = [tar({"etc/hostname": b"x"}), tar({"disk/disk.img": RAW})]
    manifest = image(tmp_path, *layers)
    path = tmp_path / "blobs/sha256" / hashlib.sha256(layers[which]).hexdigest()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError, match="does not match"):
        layerdisk.locate(tmp_path, manifest, tmp_path)


def test_a_changed_manifest_is_refused(tmp_path):
    manifest = image(tmp_path, tar({"disk/disk.img": RAW}))
    path = tmp_path / "blobs/sha256" / manifest.hex
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(VerificationError):
        layerdisk.locate(tmp_path, manifest, tmp_path)


@pytest.mark.parametrize(
    "files",
    [
        {"disk/a.img": RAW, "disk/b.img": RAW},
        {"disk": RAW},
        {"disks/a.img": RAW},
        {"/disk/a.img": RAW},
        {"etc/disk/a.img": RAW},
    ],
)
def test_anything_but_one_file_below_disk_is_refused(tmp_path, files):
    with pytest.raises(VerificationError, match="does not hold one disk"):
        layerdisk.locate(tmp_path, image(tmp_path, tar(files)), tmp_path)


def test_a_backing_file_is_refused_before_qemu_sees_it(tmp_path):
    (tmp_path / "base.img").write_bytes(RAW)
    data = qcow2(tmp_path, "-b", str(tmp_path / "base.img"), "-F", "raw")
    with pytest.raises(VerificationError, match="before any program opens it"):
        layerdisk.locate(tmp_path, image(tmp_path, tar({"disk/disk.qcow2": data})), tmp_path)


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 100, gzip.compress(tar({"disk/a": RAW}))[:-2000]])
def test_a_layer_that_is_no_archive_is_refused(tmp_path, data):
    with pytest.raises(VerificationError):
        layerdisk.locate(tmp_path, image(tmp_path, data), tmp_path)


def test_a_zstd_layer_is_copied_out(tmp_path):
    layer = zstd.compress(tar({"disk/": b"", "disk/disk.img": RAW}))
    (tmp_path / "scratch").mkdir()
    disk = layerdisk.locate(tmp_path, image(tmp_path, layer), tmp_path / "scratch")
    assert (disk.offset, content(disk)) == (0, RAW)


@pytest.mark.parametrize("name", ["disk/../../etc/passwd", "disk/.."])
def test_a_disk_that_climbs_is_refused(tmp_path, name):
    with pytest.raises(VerificationError, match="no plain file"):
        layerdisk.locate(tmp_path, image(tmp_path, tar({name: RAW})), tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_disk_that_is_a_link_or_device_is_refused(tmp_path, kind):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("disk/disk.img")
        member.type, member.linkname = kind, "/dev/sda"
        archive.addfile(member)
    with pytest.raises(VerificationError, match="no plain file"):
        layerdisk.locate(tmp_path, image(tmp_path, out.getvalue()), tmp_path)


def small_cap(monkeypatch):
    monkeypatch.setattr(compression, "Cap", lambda: Cap(free=2 << 20, ratio=10))


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_bomb_behind_the_archives_end_is_refused(tmp_path, monkeypatch, pack):
    layer = pack(tar({"disk/disk.img": RAW}) + bytes(16 << 20))
    locate = layerdisk.locate
    assert locate(tmp_path, image(tmp_path, layer), tmp_path).size == len(RAW)
    small_cap(monkeypatch)
    with pytest.raises(VerificationError, match="unpacks to too much"):
        locate(tmp_path, image(tmp_path, layer), tmp_path)


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_disk_that_is_a_bomb_is_refused_and_leaves_nothing(tmp_path, monkeypatch, pack):
    small_cap(monkeypatch)
    layer = pack(tar({"disk/disk.img": bytes(16 << 20)}))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(VerificationError, match="unpacks to too much"):
        layerdisk.locate(tmp_path, image(tmp_path, layer), scratch)
    assert list(scratch.iterdir()) == []
