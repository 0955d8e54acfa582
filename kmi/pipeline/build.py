"""From manifests to one image index on disk. Every stage is cached by what goes into it, so a rerun does what is
missing and nothing else."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmi.bootstrap import build as bootstrap_build
from kmi.disk import finish as disk_finish
from kmi.errors import UsageError, VerificationError
from kmi.guest import customize as guest
from kmi.host.run import run
from kmi.host.store import hash_file
from kmi.host.ui import Step, amount
from kmi.model.codec import decode, encode
from kmi.model.digest import Digest
from kmi.model.metadata import RECORDED_LATE, Metadata
from kmi.model.spec import ImageSpec
from kmi.model.stages import CustomDisk, Disk, Inventory, OciImage, OciIndex, VerifiedImage
from kmi.oci.layout import Layout
from kmi.pipeline.describe import describe
from kmi.pipeline.site import Site
from kmi.upstream import fetch as upstream_fetch
from kmi.upstream.resolve import resolve
from kmi.wrap import base as wrap_base
from kmi.wrap import image as wrap_image
from kmi.wrap import metadata_layer
from kmi.wrap.index import join

CLOUD_IMAGE, BOOTSTRAP = "cloud-image", "bootstrap"
SOURCES = (CLOUD_IMAGE, BOOTSTRAP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An index in ``layout`` form below the output folder, and each image's metadata by its digest."""

    index: OciIndex
    metadata: Mapping[Digest, Metadata]


def build(specs: tuple[ImageSpec, ...], *, source: str, as_of: str, site: Site) -> Built:
    """Build every architecture of one release and join them. Raises what the stages raise."""
    made = [_image(spec, source=source, as_of=as_of, site=site) for spec in specs]
    index = _index(tuple(image for image, _ in made), made[0][1], site)
    return Built(index=index, metadata={image.digest: metadata for image, metadata in made})


def _image(spec: ImageSpec, *, source: str, as_of: str, site: Site) -> tuple[OciImage, Metadata]:
    if source == BOOTSTRAP:
        image, lines = _bootstrapped(spec, as_of, site)
    else:
        image, lines = _downloaded(spec, site), ()
    custom, key = _customized(spec, image, lines, as_of, site)
    disk = _finished(spec, custom, key, site)
    return _wrapped(spec, custom, disk, as_of, site)


def _bootstrapped(spec: ImageSpec, as_of: str, site: Site) -> tuple[VerifiedImage, tuple[str, ...]]:
    """The image, and the package source lines of this host that customise goes on using."""
    if spec.archive is None:
        raise UsageError(f"{spec.id} cannot be bootstrapped", expected="a bootstrap: section", where=spec.where)
    lines = bootstrap_build.archives(spec.archive, site.settings.package_mirrors)

    def make(out: Path, step: Step) -> Mapping[str, object]:
        image = bootstrap_build.build(
            spec,
            lines=lines,
            acceleration=site.acceleration(spec.id.arch),
            cache=site.store.root,
            out=out,
            log=site.log / f"{spec.id}-bootstrap.log",
            step=step,
        )
        return {"digest": image.digest, "origin": image.origin}

    inputs = {
        "version": bootstrap_build.VERSION,
        "image": str(spec.id),
        "archive": spec.archive,
        "as_of": as_of,
        "size": bootstrap_build.SIZE,
    }
    stage = site.stage(spec.id, "bootstrap", inputs, make, told=lambda o: _trust(o["origin"]))
    return bootstrap_build.load(spec, stage.path, stage.outputs), lines


def _downloaded(spec: ImageSpec, site: Site) -> VerifiedImage:
    with site.ui.step(str(spec.id), "resolve") as step, site.store.scratch() as scratch:
        locked = resolve(spec, http=site.http, settings=site.settings, scratch=scratch, step=step)
        step.done(f"{locked.url.rpartition('/')[2]}, {locked.evidence}")
    site.record(spec.id, "resolve", step, "", encode(spec.cloud_image), locked)
    with site.ui.step(str(spec.id), "fetch") as step:
        image = upstream_fetch.cached(locked, site.store)
        if image:
            step.reuse(f"{locked.digest.algorithm}:{locked.digest.short}… is in the cache")
        else:
            image = upstream_fetch.fetch(locked, store=site.store, http=site.http, step=step)
            step.done(f"{amount(image.path.stat().st_size)}, {locked.digest.algorithm} matches")
    site.record(spec.id, "fetch", step, "", encode(locked), {"digest": image.digest, "origin": image.origin})
    return image


def _customized(
    spec: ImageSpec, image: VerifiedImage, lines: tuple[str, ...], as_of: str, site: Site
) -> tuple[CustomDisk, str]:
    def make(out: Path, step: Step) -> Mapping[str, object]:
        _prove(image)
        disk = guest.customize(
            image,
            spec.recipe,
            virtual_size=spec.virtual_size,
            archives=lines,
            acceleration=site.acceleration(spec.id.arch),
            cache=site.store.root,
            out=out,
            log=site.log / f"{spec.id}-customize.log",
            step=step,
        )
        return {"inventory": disk.inventory, "customizer": disk.customizer}

    inputs = {
        "version": guest.VERSION,
        "input": image.digest,
        "recipe": spec.recipe,
        "virtual_size": spec.virtual_size,
        "as_of": as_of,
    }
    stage = site.stage(spec.id, "customize", inputs, make, told=lambda o: f"{len(o['inventory']['packages'])} packages")
    outputs = stage.outputs
    disk = CustomDisk(
        id=spec.id,
        path=stage.path / guest.DISK,
        format="raw",
        origin=image.origin,
        inventory=decode(Inventory, outputs["inventory"]),
        customizer=outputs["customizer"],
    )
    return disk, stage.key


def _finished(spec: ImageSpec, custom: CustomDisk, key: str, site: Site) -> Disk:
    def make(out: Path, step: Step) -> Mapping[str, object]:
        log = site.log / f"{spec.id}-finish.log"
        disk = disk_finish.finish(custom, virtual_size=spec.virtual_size, out=out, log=log, step=step)
        return {"digest": disk.digest, "size": disk.size, "virtual_size": disk.virtual_size}

    inputs = {
        "version": disk_finish.VERSION,
        "customized": key,
        "virtual_size": spec.virtual_size,
        "qemu-img": tools()["qemu-img"],
    }
    stage = site.stage(spec.id, "finish", inputs, make, told=lambda o: f"{amount(o['size'])} qcow2")
    outputs = stage.outputs
    return Disk(
        id=spec.id,
        path=stage.path / disk_finish.DISK,
        digest=decode(Digest, outputs["digest"]),
        size=outputs["size"],
        virtual_size=outputs["virtual_size"],
    )


def _wrapped(spec: ImageSpec, custom: CustomDisk, disk: Disk, as_of: str, site: Site) -> tuple[OciImage, Metadata]:
    with site.ui.step(str(spec.id), "base") as step:
        base = wrap_base.resolve(site.settings.base, spec.id.arch, store=site.store, step=step)
        step.reuse(f"{base.digest.algorithm}:{base.digest.short}…")
    named = (_base_name(base.reference), base.digest)
    record = describe(spec, custom, disk, base=named, as_of=as_of, settings=site.settings)

    def make(out: Path, step: Step) -> Mapping[str, object]:
        image = wrap_image.wrap(
            disk,
            metadata=record,
            licence=spec.licence,
            eula=spec.eula,
            base=base,
            released_at=custom.origin.released_at,
            arch=spec.id.arch,
            out=out / "oci",
            step=step,
        )
        return {"digest": image.digest, "size": image.size, "metadata": record}

    inputs = {
        "version": wrap_image.VERSION,
        "metadata": {name: value for name, value in record.items() if name not in RECORDED_LATE},
        "licence": spec.licence,
        "eula": spec.eula,
        "base": base.digest,
        "entrypoint": hashlib.sha256(metadata_layer.script()).hexdigest(),
    }
    stage = site.stage(spec.id, "wrap", inputs, make, told=lambda o: str(o["digest"])[:19] + "…")
    outputs = stage.outputs
    image = OciImage(
        id=spec.id,
        layout=stage.path / "oci",
        digest=decode(Digest, outputs["digest"]),
        size=outputs["size"],
        disk=disk.digest,
    )
    return image, outputs["metadata"]


def _index(images: tuple[OciImage, ...], metadata: Metadata, site: Site) -> OciIndex:
    """Join the images, and let the output folder hold the layout (hard links into the cache, no copies)."""
    name = images[0].id.name

    def make(out: Path, _: Step) -> Mapping[str, object]:
        return {"digest": join(images, metadata=metadata, out=out / "oci").digest}

    inputs = {"version": wrap_image.VERSION, "images": [image.digest for image in images]}
    stage = site.stage(name, "index", inputs, make, told=lambda o: str(o["digest"])[:19] + "…")
    target = site.folder / "oci"
    digest = decode(Digest, stage.outputs["digest"])
    if not (target.is_dir() and [root.digest for root in Layout(target).roots()] == [digest]):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(stage.path / "oci", target, copy_function=_link)
    return OciIndex(layout=target, digest=digest, images=images)


def tools() -> dict[str, str]:
    """The versions of the programs whose output gets into the image."""
    return {"qemu-img": run(["qemu-img", "--version"]).stdout.splitlines()[0].removeprefix("qemu-img version ")}


def _prove(image: VerifiedImage) -> None:
    """Hash the image again before it is used: a cache is only a disk."""
    if (got := hash_file(image.path)) != image.digest:
        raise VerificationError(
            "a cached disk is damaged",
            expected=image.digest,
            got=got,
            where=image.path,
            hint="remove its folder and run again",
        )


def _trust(origin: Mapping[str, Any]) -> str:
    evidence = origin["evidence"]
    return f"{evidence['kind']}:{evidence['value']}".rstrip(":")


def _base_name(reference: str) -> str:
    """A local layout's path says nothing to anybody else and would differ from machine to machine."""
    return "local" if Path(reference.removeprefix("oci:")).exists() else reference


def _link(source: str, target: str) -> None:
    try:
        Path(target).hardlink_to(source)
    except OSError:  # another file system
        shutil.copy2(source, target)
