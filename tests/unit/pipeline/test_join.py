from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmi.catalogue import Catalogue, load
from kmi.errors import UsageError, VerificationError
from kmi.host.store import Store
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.stages import OciImage
from kmi.oci.layout import INDEX, Layout
from kmi.pipeline import join
from kmi.wrap import image, index
from tests.wrapping import LICENCE, RELEASED, base_of, disk, local_base, record

DISTROS = Path(__file__).parents[3] / "distros"


@pytest.fixture
def wrap(tmp_path: Path):
    local_base().write(tmp_path / "base")
    base = base_of(tmp_path / "base", Store(tmp_path / "cache"))

    def make(arch: Arch = Arch.AMD64, **changed: str) -> OciImage:
        """An image in a layout of its own. What differs between architectures does here too."""
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}-{arch}"
        source = tmp_path / f"{arch}.qcow2"
        source.write_bytes(b"QFI\xfb\0\0\0\3" + bytes(5000) + arch.value.encode())
        item = disk(source, arch)
        told = record(**{
            "distro": "debian", "release": "12", "architecture": arch.value, "firmware": "uefi",
            "version": f"12-{arch}", "disk_digest": str(item.digest), "base_digest": str(base.digest), **changed,
        })  # fmt: skip
        return image.wrap(
            item, metadata=told, licence=LICENCE, eula=None, base=base, released_at=RELEASED, arch=arch, out=out
        )

    return make


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load(DISTROS)


def blobs(made: OciImage) -> dict[str, Path]:
    layout = Layout(made.layout)
    manifest = layout.read_json(made.digest)
    parts = {"manifest": made.digest, "config": Digest.parse(manifest["config"]["digest"])}
    parts |= {f"layer {n}": Digest.parse(layer["digest"]) for n, layer in enumerate(manifest["layers"])}
    return {name: layout.blob(digest) for name, digest in parts.items()}


def metadata(made: OciImage) -> dict[str, str]:
    ((one),) = join.found([made.layout])
    return dict(one.metadata)


def test_layouts_join_to_the_index_of_a_build_in_one_go(wrap, catalogue: Catalogue, tmp_path: Path) -> None:
    arm, amd = wrap(Arch.ARM64), wrap(Arch.AMD64)
    at_once = index.join((amd, arm), metadata=metadata(amd), out=tmp_path / "at-once")
    index.join((arm,), metadata=metadata(arm), out=tmp_path / "alone")
    for n, folders in enumerate([[arm.layout, amd.layout], [amd.layout, tmp_path / "alone"], [tmp_path / "at-once"]]):
        found = join.found(folders)
        specs = join.release(found, catalogue)
        assert [str(spec.id) for spec in specs] == ["debian-12-amd64", "debian-12-arm64"]
        built = join.joined(found, specs, tmp_path / f"joined-{n}")
        assert built.index.digest == at_once.digest
        assert {digest: told["version"] for digest, told in built.metadata.items()} == {
            amd.digest: "12-amd64",
            arm.digest: "12-arm64",
        }
        made = Layout.open(built.index.layout)
        (root,) = made.roots()
        assert root.media_type == INDEX
        assert sorted(path.name for path in made.blobs.iterdir()) == sorted(
            path.name for path in Layout(tmp_path / "at-once").blobs.iterdir()
        )


def test_a_flipped_bit_anywhere_is_found(wrap) -> None:
    made = wrap()
    for name, path in blobs(made).items():
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
        with pytest.raises(VerificationError, match="does not match its name"):
            join.found([made.layout])
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        assert len(join.found([made.layout])) == 1, name
    assert len(blobs(made)) >= 5


def test_a_flipped_bit_in_an_index_is_found(wrap, tmp_path: Path) -> None:
    made = wrap()
    joined = index.join((made,), metadata=metadata(made), out=tmp_path / "joined")
    path = Layout(joined.layout).blob(joined.digest)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"debian", b"debiam", 1))
    with pytest.raises(VerificationError, match="does not match its name"):
        join.found([joined.layout])


def test_what_belongs_to_no_one_release_is_refused(wrap, catalogue: Catalogue) -> None:
    amd = join.found([wrap().layout])
    with pytest.raises(UsageError, match="no index") as caught:
        join.release((*amd, *join.found([wrap(Arch.ARM64, release="13").layout])), catalogue)
    assert caught.value.got == "debian-12, debian-13"
    with pytest.raises(UsageError, match="no index") as caught:
        join.release((*amd, *amd), catalogue)
    assert caught.value.got == "two of debian-12-amd64"


def test_an_image_that_the_catalogue_does_not_have_is_refused(wrap, catalogue: Catalogue) -> None:
    for change in ({"release": "3"}, {"distro": "nobodys"}):
        with pytest.raises(UsageError, match="the catalogue has no image"):
            join.release(join.found([wrap(**change).layout]), catalogue)
    s390x = tuple(
        replace(one, image=replace(one.image, id=replace(one.image.id, arch=Arch.S390X)))
        for one in join.found([wrap().layout])
    )
    with pytest.raises(UsageError, match="no image debian-12-s390x") as caught:
        join.release(s390x, catalogue)
    assert "debian-12-amd64" in str(caught.value.expected)


@pytest.mark.parametrize("lie", [{"firmware": "coreboot"}, {"distro": "", "release": ""}])
def test_an_image_that_says_of_itself_what_cannot_be_is_refused(wrap, lie: dict[str, str]) -> None:
    with pytest.raises(VerificationError, match="does not say what it is"):
        join.found([wrap(**lie).layout])


def test_somebody_elses_image_is_refused(tmp_path: Path) -> None:
    local_base().write(tmp_path / "base")
    with pytest.raises(VerificationError, match="containerDisk contract"):
        join.found([tmp_path / "base"])
    with pytest.raises(UsageError, match="not an OCI image layout"):
        join.found([tmp_path])
    empty = Layout.create(tmp_path / "empty")
    with pytest.raises(UsageError, match="holds no image"):
        join.found([empty.root])
