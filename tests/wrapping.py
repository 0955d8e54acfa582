"""A small disk, a metadata record and a base to wrap: what the tests of layers, images and the entrypoint share."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from kmi.host.run import run
from kmi.host.store import Store, hash_file
from kmi.model import metadata
from kmi.model.platform import Arch
from kmi.model.spec import ImageId, LegalText
from kmi.model.stages import Disk, OciImage, OciIndex
from kmi.oci.layout import Layout
from kmi.wrap import base as bases
from kmi.wrap import image, index

ROOT = Path(__file__).parents[1]
RELEASED = datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC)
LICENCE = LegalText(name="Debian Free Software", url="https://example.org/licence", text="You may share it.\nFreely.\n")
EULA = LegalText(name="Terms", url="https://example.org/eula", text="Be kind.")


def local_base() -> ModuleType:
    """``containerfiles/base/local_base.py``, which is a script and no part of the package."""
    spec = importlib.util.spec_from_file_location("local_base", ROOT / "containerfiles/base/local_base.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def qcow2(path: Path, size: str = "4M") -> Path:
    """A real qcow2 with some data in it."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(bytes(range(256)) * 4096)
    run(["qemu-img", "resize", "-q", "-f", "raw", raw, size])
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", raw, path])
    raw.unlink()
    return path


def disk(path: Path, arch: Arch = Arch.AMD64) -> Disk:
    identity = ImageId(distro="debian", release="12", arch=arch)
    return Disk(id=identity, path=path, digest=hash_file(path), size=path.stat().st_size, virtual_size=4 * 1024**2)


def record(**changed: str) -> dict[str, str]:
    """A complete metadata record; every field tells its name unless ``changed`` says otherwise."""
    given = {name.replace("-", "_"): f"the {name}" for name in metadata.BY_NAME}
    given |= {"instancetype": "u1.medium", "preference": "debian", "codename": "", "eula": "", "eula_url": ""}
    return metadata.record(**(given | changed))


def base_of(path: Path, store: Store, arch: Arch = Arch.AMD64) -> bases.Base:
    return bases.resolve(str(path), arch, store=store)


def wrapped(
    path: Path, base: bases.Base, out: Path, arch: Arch = Arch.AMD64, eula: LegalText | None = EULA
) -> OciImage:
    """``path`` is the disk's; a fresh layout is written at ``out``."""
    item = disk(path, arch)
    told = record(disk_digest=str(item.digest), base_digest=str(base.digest), architecture=arch.value)
    return image.wrap(
        item, metadata=told, licence=LICENCE, eula=eula, base=base, released_at=RELEASED, arch=arch, out=out
    )


def joined(images: tuple[OciImage, ...], out: Path) -> OciIndex:
    first = images[0]
    told = record(disk_digest=str(first.disk), architecture=first.id.arch.value)
    return index.join(images, metadata=told, out=out)


def manifest(found: OciImage) -> dict[str, object]:
    return Layout.open(found.layout).read_json(found.digest)
