"""Every rule is broken by one image of its own, and by that image's one mistake only where rules overlap."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from kmi.disk import compression
from kmi.disk.compression import Cap
from kmi.errors import VerificationError
from kmi.host.store import Store
from kmi.oci.contract import RULES, Severity, lint
from kmi.oci.layout import CONFIG, LAYER, MANIFEST, Layout
from tests.wrapping import base_of, joined, local_base, wrapped

QCOW2 = b"QFI\xfb" + (3).to_bytes(4, "big") + bytes(64) + bytes(8) + bytes(432)
ENV = "INSTANCETYPE_KUBEVIRT_IO_DEFAULT_"


def head(*, at: int, value: bytes) -> bytes:
    return QCOW2[:at] + value + QCOW2[at + len(value) :]


def member(name: str, data: bytes = b"", *, mode: int = 0o444, owner: int = 107, kind: bytes = tarfile.REGTYPE,
           link: str = "") -> tuple[tarfile.TarInfo, bytes]:  # fmt: skip
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid, info.type, info.size, info.linkname = mode, owner, owner, kind, len(data), link
    return info, data


FOLDER = member("disk", mode=0o555, kind=tarfile.DIRTYPE)
DISK = member("disk/disk.qcow2", QCOW2)


@dataclass(frozen=True, kw_only=True)
class Image:
    """A good image; each test replaces one thing."""

    layers: tuple[tuple[tuple[tarfile.TarInfo, bytes], ...], ...] = ((FOLDER, DISK),)
    media_type: str = LAYER
    pack: Callable[[bytes], bytes] = bytes
    manifest_type: str = MANIFEST
    config: dict[str, Any] = field(default_factory=lambda: {
        "architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
        "config": {"Env": [f"{ENV}INSTANCETYPE=u1.medium", f"{ENV}PREFERENCE=debian"]},
    })  # fmt: skip
    diff_ids: tuple[str, ...] | None = None
    annotations: dict[str, str] = field(default_factory=lambda: {
        f"org.opencontainers.image.{name}": "x" for name in ("licenses", "source", "base.digest")
    })  # fmt: skip
    platform: tuple[str, str] | None = ("amd64", "linux")
    claimed_size: int | None = None


def tar(members: tuple[tuple[tarfile.TarInfo, bytes], ...]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def broken(image: Image, root: Path) -> dict[str, Severity]:
    """Write the image and lint it: the rules that it breaks."""
    layout = Layout.create(root)
    tars = [tar(layer) for layer in image.layers]
    blobs = [layout.add_bytes(image.media_type, image.pack(content)) for content in tars]
    if image.claimed_size is not None:
        blobs = [replace(blob, size=image.claimed_size) for blob in blobs]
    diff_ids = [str(layout.add_bytes(LAYER, content).digest) for content in tars]
    rootfs = {"type": "layers", "diff_ids": list(image.diff_ids or diff_ids)}
    config = layout.add_json(CONFIG, {**image.config, "rootfs": rootfs})
    value = {"schemaVersion": 2, "mediaType": image.manifest_type, "config": config.to_json(),
             "layers": [blob.to_json() for blob in blobs], "annotations": image.annotations}  # fmt: skip
    manifest = layout.add_json(image.manifest_type, value)
    child = None
    if image.platform:
        child = replace(manifest, architecture=image.platform[0], os=image.platform[1])
    findings = lint(root, manifest.digest, child)
    assert [finding.rule for finding in findings] == list(RULES)
    return {f.rule.id: f.outcome for f in findings if f.outcome is not Severity.OK}


def with_disk(*members: tuple[tarfile.TarInfo, bytes]) -> Image:
    return Image(layers=(members,))


def with_config(**changed: Any) -> Image:
    good = Image().config
    return Image(config={**good, **changed})


def without(name: str) -> Image:
    kept = {key: value for key, value in Image().annotations.items() if not key.endswith(name)}
    return Image(annotations=kept)


def test_the_good_image_breaks_nothing(tmp_path: Path) -> None:
    assert broken(Image(), tmp_path) == {}


def test_gzip_layers_are_read(tmp_path: Path) -> None:
    assert broken(Image(pack=gzip.compress, media_type=LAYER + "+gzip"), tmp_path) == {}


VIOLATION, WARNING = Severity.VIOLATION, Severity.WARNING
CASES: dict[str, tuple[Image, dict[str, Severity]]] = {
    "no index": (Image(platform=None), {"index": WARNING}),
    "wrong platform": (Image(platform=("arm64", "linux")), {"platform": VIOLATION}),
    "no architecture": (with_config(architecture=""), {"platform": VIOLATION, "architecture": VIOLATION}),
    "docker layer": (
        Image(media_type="application/vnd.docker.image.rootfs.diff.tar.gzip", pack=gzip.compress),
        {"media-types": WARNING},
    ),
    "docker manifest": (
        Image(manifest_type="application/vnd.docker.distribution.manifest.v2+json"),
        {"media-types": WARNING},
    ),
    "odd layer": (Image(media_type="application/octet-stream"), {"layer-kind": VIOLATION, "media-types": WARNING}),
    "diff id": (Image(diff_ids=(f"sha256:{'0' * 64}",)), {"diff-ids": VIOLATION}),
    "no disk": (with_disk(FOLDER), {"one-disk": VIOLATION}),
    "two disks": (with_disk(FOLDER, DISK, member("disk/sums", b"x")), {"one-disk": VIOLATION}),
    "two disks in two layers": (
        Image(layers=((FOLDER, DISK), (member("disk/other.img", b"x"),))),
        {"one-disk": VIOLATION},
    ),
    "folder in disk": (
        with_disk(FOLDER, DISK, member("disk/sub", mode=0o555, kind=tarfile.DIRTYPE)),
        {"no-folder": VIOLATION},
    ),
    "link": (
        with_disk(FOLDER, member("disk/disk.qcow2", kind=tarfile.SYMTYPE, link="/etc/passwd")),
        {"regular": VIOLATION},
    ),
    "climbing": (
        with_disk(FOLDER, member("disk/../disk/disk.qcow2", QCOW2)),
        {"relative": VIOLATION},
    ),
    "absolute": (with_disk(FOLDER, member("/disk/disk.qcow2", QCOW2)), {"relative": VIOLATION}),
    "prefix": (Image(layers=((FOLDER, DISK), (member("disk-info.json", b"{}"),))), {"prefix": VIOLATION}),
    "file named disk": (
        with_disk(member("disk", QCOW2)),
        {"one-disk": VIOLATION, "prefix": VIOLATION, "readable": VIOLATION, "owner": WARNING},
    ),
    "company": (with_disk(FOLDER, DISK, member("readme", b"hi")), {"alone": WARNING}),
    "unreadable": (
        with_disk(FOLDER, member("disk/disk.qcow2", QCOW2, mode=0o600, owner=0)),
        {"readable": VIOLATION, "owner": WARNING},
    ),
    "shut folder": (
        with_disk(member("disk", mode=0o700, owner=0, kind=tarfile.DIRTYPE), DISK),
        {"readable": VIOLATION, "owner": WARNING},
    ),
    "root's": (with_disk(FOLDER, member("disk/disk.qcow2", QCOW2, owner=0)), {"owner": WARNING}),
    "no folder member": (with_disk(DISK), {"owner": WARNING}),
    "vmdk": (with_disk(FOLDER, member("disk/disk.img", b"KDMV" + bytes(600))), {"format": VIOLATION}),
    "xz": (with_disk(FOLDER, member("disk/disk.img", b"\xfd7zXZ" + bytes(600))), {"format": VIOLATION}),
    "qcow version": (with_disk(FOLDER, member("disk/d", head(at=4, value=b"\0\0\0\1"))), {"format": VIOLATION}),
    "backing file": (
        with_disk(FOLDER, member("disk/d", head(at=8, value=(1 << 40).to_bytes(8, "big")))),
        {"backing-file": VIOLATION},
    ),
    "external data": (
        with_disk(FOLDER, member("disk/d", head(at=72, value=(4).to_bytes(8, "big")))),
        {"data-file": VIOLATION},
    ),
    "bootc": (
        with_config(config={**Image().config["config"], "Labels": {"containers.bootc": "1"}}),
        {"bootc": VIOLATION},
    ),
    "entrypoint": (with_config(config={**Image().config["config"], "Entrypoint": ["/x"]}), {"entrypoint": WARNING}),
    "no defaults": (with_config(config={}), {"defaults": WARNING}),
    "no label value": (
        with_config(config={"Env": [f"{ENV}INSTANCETYPE=a b", f"{ENV}PREFERENCE=debian"]}),
        {"default-values": VIOLATION},
    ),
    "11 GB": (Image(claimed_size=11 * 10**9), {"size-ghcr": WARNING, "size-hub": WARNING}),
    "22 GB": (Image(claimed_size=22 * 10**9), {"size-ghcr": WARNING, "size-quay": WARNING, "size-hub": WARNING}),
    "no time": (with_config(created=""), {"created": WARNING}),
    "no base": (without("base.digest"), {"base": WARNING}),
    "no licence": (without("licenses"), {"licence": WARNING}),
    "no source": (without("source"), {"source": WARNING}),
    "long manifest": (
        Image(annotations={**Image().annotations, "x": "y" * (4 * 1024 * 1024)}),
        {"manifest-size": WARNING},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_mistake_is_found_and_no_other(case: str, tmp_path: Path) -> None:
    image, expected = CASES[case]
    assert broken(image, tmp_path) == expected


def test_every_rule_has_a_case() -> None:
    covered = {rule for _, expected in CASES.values() for rule in expected}
    elsewhere = {"digests"}
    assert covered | elsewhere == {rule.id for rule in RULES}


def test_a_damaged_layer_is_found(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    good, other = tar((FOLDER, DISK)), tar((FOLDER, member("disk/other.img", QCOW2)))
    blob = layout.add_bytes(LAYER, good)
    layout.blob(blob.digest).chmod(0o644)
    layout.blob(blob.digest).write_bytes(other)
    config = layout.add_json(CONFIG, {"rootfs": {"diff_ids": [str(blob.digest)]}})
    manifest = layout.add_json(MANIFEST, {"config": config.to_json(), "layers": [blob.to_json()]})
    found = {finding.rule.id: finding.outcome for finding in lint(tmp_path, manifest.digest)}
    assert found["digests"] is found["diff-ids"] is Severity.VIOLATION


@pytest.mark.parametrize("content", [b"", b"no tar" * 200, gzip.compress(tar((FOLDER, DISK)))[:-20]])
def test_what_is_no_tar_is_refused(content: bytes, tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    blob = layout.add_bytes(LAYER, content)
    config = layout.add_json(CONFIG, {})
    manifest = layout.add_json(MANIFEST, {"config": config.to_json(), "layers": [blob.to_json()]})
    with pytest.raises(VerificationError):
        lint(tmp_path, manifest.digest)


def test_an_image_of_kmi_breaks_no_rule_but_has_an_entrypoint(tmp_path: Path) -> None:
    source = tmp_path / "disk"
    source.write_bytes(QCOW2)
    local_base().write(tmp_path / "base")
    base = base_of(tmp_path / "base", Store(tmp_path / "cache"))
    index = joined((wrapped(source, base, tmp_path / "one"),), tmp_path / "out")
    layout = Layout.open(index.layout)
    (child,) = layout.images(index.digest)
    found = {f.rule.id: f.outcome for f in lint(index.layout, child.digest, child) if f.outcome is not Severity.OK}
    assert found == {"entrypoint": WARNING}


def test_findings_carry_their_source() -> None:
    assert all(rule.source and rule.says for rule in RULES)
    assert len({rule.id for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_layer_that_is_a_bomb_is_refused(
    pack: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "Cap", lambda: Cap(free=1 << 20, ratio=10))
    layout = Layout.create(tmp_path)
    blob = layout.add_bytes(LAYER, pack(tar((FOLDER, DISK)) + bytes(8 << 20)))
    config = layout.add_json(CONFIG, {})
    manifest = layout.add_json(MANIFEST, {"config": config.to_json(), "layers": [blob.to_json()]})
    with pytest.raises(VerificationError, match="unpacks to too much"):
        lint(tmp_path, manifest.digest)
