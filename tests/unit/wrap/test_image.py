from __future__ import annotations

import errno
import os
import shutil
from datetime import timedelta, timezone
from pathlib import Path

import pytest

from kmi.errors import InternalError, UsageError, VerificationError
from kmi.host.store import Store, hash_file
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.oci.layout import CONFIG, LAYER, MANIFEST, Layout
from kmi.wrap import image
from kmi.wrap.base import Base, resolve
from tests.wrapping import LICENCE, RELEASED, base_of, disk, joined, local_base, record, wrapped


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "disk.bin"
    path.write_bytes(b"QFI\xfb\0\0\0\3" + bytes(5000))
    return path


@pytest.fixture
def base(tmp_path: Path) -> Base:
    local_base().write(tmp_path / "base")
    return base_of(tmp_path / "base", Store(tmp_path / "cache"))


def test_base_layers_come_first_and_are_unchanged(source: Path, base: Base, tmp_path: Path) -> None:
    found = wrapped(source, base, tmp_path / "out")
    layout = Layout.open(found.layout)
    manifest = layout.read_json(found.digest)
    assert manifest["layers"][:-2] == [layer.to_json() for layer in base.layers]
    assert [layer["mediaType"] for layer in manifest["layers"]] == [LAYER] * (len(base.layers) + 2)
    assert (manifest["mediaType"], manifest["config"]["mediaType"]) == (MANIFEST, CONFIG)
    config = layout.read_json(Digest.parse(manifest["config"]["digest"]))
    assert config["rootfs"]["diff_ids"] == [*base.diff_ids, *(x["digest"] for x in manifest["layers"][-2:])]
    assert len(config["history"]) == len(manifest["layers"])
    for layer in (*base.layers,):
        layout.verify(layer)


def test_config_says_what_kubevirt_and_cdi_read(source: Path, base: Base, tmp_path: Path) -> None:
    found = wrapped(source, base, tmp_path / "out")
    layout = Layout.open(found.layout)
    manifest = layout.read_json(found.digest)
    config = layout.read_json(Digest.parse(manifest["config"]["digest"]))
    assert (config["architecture"], config["os"], config["created"]) == ("amd64", "linux", "2026-11-02T03:04:05Z")
    inner = config["config"]
    assert inner["User"] == "107:107"
    assert inner["Entrypoint"] == ["/entrypoint.sh"]
    assert "Cmd" not in inner
    assert inner["Env"] == [
        "PATH=/usr/bin:/bin",
        "INSTANCETYPE_KUBEVIRT_IO_DEFAULT_INSTANCETYPE=u1.medium",
        "INSTANCETYPE_KUBEVIRT_IO_DEFAULT_INSTANCETYPE_KIND=VirtualMachineClusterInstancetype",
        "INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE=debian",
        "INSTANCETYPE_KUBEVIRT_IO_DEFAULT_PREFERENCE_KIND=VirtualMachineClusterPreference",
    ]
    assert inner["Labels"] == manifest["annotations"]
    assert inner["Labels"]["dev.kmi.disk.digest"] == str(hash_file(source))
    assert "dev.kmi.codename" not in inner["Labels"]


def test_the_same_inputs_give_the_same_digest_in_any_zone(source: Path, base: Base, tmp_path: Path) -> None:
    first = wrapped(source, base, tmp_path / "one")
    item = disk(source)
    told = record(disk_digest=str(item.digest), base_digest=str(base.digest), architecture="amd64")
    shuffled = dict(reversed(told.items()))
    elsewhere = RELEASED.astimezone(timezone(timedelta(hours=9)))
    second = image.wrap(
        item, metadata=shuffled, licence=LICENCE, eula=None, base=base, released_at=elsewhere, arch=Arch.AMD64,
        out=tmp_path / "two",
    )  # fmt: skip
    third = wrapped(source, base, tmp_path / "three", eula=None)
    assert second.digest == third.digest != first.digest


def test_a_disk_that_changed_is_refused(source: Path, base: Base, tmp_path: Path) -> None:
    item = disk(source)
    told = record(disk_digest=str(item.digest), base_digest=str(base.digest), architecture="amd64")
    source.write_bytes(b"QFI\xfb\0\0\0\3" + bytes(4999) + b"x")
    with pytest.raises(VerificationError):
        image.wrap(item, metadata=told, licence=LICENCE, eula=None, base=base, released_at=RELEASED, arch=Arch.AMD64,
                   out=tmp_path / "out")  # fmt: skip


@pytest.mark.parametrize("field", ["disk_digest", "base_digest", "architecture"])
def test_metadata_of_something_else_is_a_bug(field: str, source: Path, base: Base, tmp_path: Path) -> None:
    item = disk(source)
    told = {"disk_digest": str(item.digest), "base_digest": str(base.digest), "architecture": "amd64", field: "other"}
    with pytest.raises(InternalError):
        image.wrap(item, metadata=record(**told), licence=LICENCE, eula=None, base=base, released_at=RELEASED,
                   arch=Arch.AMD64, out=tmp_path / "out")  # fmt: skip


def test_index_lists_architectures_in_order_with_all_blobs(source: Path, base: Base, tmp_path: Path) -> None:
    amd64 = wrapped(source, base, tmp_path / "amd64")
    arm64 = wrapped(source, base, tmp_path / "arm64", arch=Arch.ARM64)
    index = joined((arm64, amd64), tmp_path / "out")
    layout = Layout.open(index.layout)
    (root,) = layout.roots()
    assert root.digest == index.digest
    value = layout.read_json(index.digest)
    assert [entry["platform"] for entry in value["manifests"]] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux"},
    ]
    assert "dev.kmi.disk.digest" not in value["annotations"]
    assert value["annotations"]["org.opencontainers.image.title"] == "the title"
    for child in layout.images(index.digest):
        manifest = layout.read_json(child.digest)
        for part in (manifest["config"], *manifest["layers"]):
            assert layout.blob(Digest.parse(part["digest"])).stat().st_size == part["size"]
    assert joined((amd64, arm64), tmp_path / "again").digest == index.digest
    assert joined((amd64,), tmp_path / "alone").digest != amd64.digest


def test_two_of_one_architecture_make_no_index(source: Path, base: Base, tmp_path: Path) -> None:
    one = wrapped(source, base, tmp_path / "one")
    with pytest.raises(InternalError):
        joined((one, one), tmp_path / "out")


def test_base_is_cached_and_a_damaged_one_refused(tmp_path: Path) -> None:
    layout = local_base().write(tmp_path / "base")
    store = Store(tmp_path / "cache")
    base = base_of(tmp_path / "base", store)
    assert base.digest == layout.roots()[0].digest
    assert base.layout.is_relative_to(tmp_path / "cache")
    blob = layout.blob(base.layers[0].digest)
    blob.chmod(0o644)
    blob.write_bytes(b"x" * blob.stat().st_size)
    assert base_of(tmp_path / "base", store) == base
    with pytest.raises(VerificationError):
        base_of(tmp_path / "base", Store(tmp_path / "other"))
    assert list((tmp_path / "other" / "stages").iterdir()) == []


def test_base_with_a_layer_twice_and_one_without_its_blob(tmp_path: Path) -> None:
    layout = local_base().write(tmp_path / "base")
    value = layout.read_json(layout.roots()[0].digest)
    config = layout.read_json(Digest.parse(value["config"]["digest"]))
    config["rootfs"]["diff_ids"] *= 2
    value = {**value, "layers": value["layers"] * 2, "config": layout.add_json(CONFIG, config).to_json()}
    layout.set_roots((layout.add_json(MANIFEST, value),))
    base = base_of(tmp_path / "base", Store(tmp_path / "cache"))
    assert len(base.layers) == 2 and base.layers[0] == base.layers[1]
    layout.blob(base.layers[0].digest).unlink()
    with pytest.raises(VerificationError, match="lacks a blob"):
        base_of(tmp_path / "base", Store(tmp_path / "other"))


def test_a_full_disk_is_not_told_as_a_base_that_lacks_a_blob(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local_base().write(tmp_path / "base")

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError) as caught:
        base_of(tmp_path / "base", Store(tmp_path / "cache"))
    assert caught.value.errno == errno.ENOSPC


def test_base_of_another_architecture_is_refused(tmp_path: Path) -> None:
    local_base().write(tmp_path / "base")
    with pytest.raises(UsageError, match="no image for s390x") as refused:
        resolve(f"oci:{tmp_path / 'base'}", Arch.S390X, store=Store(tmp_path / "cache"))
    assert refused.value.got == "amd64"
