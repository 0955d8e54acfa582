"""From manifests to one image index on disk. Every stage is cached by what goes into it, so a rerun does what is
missing and nothing else."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kmi.disk import finish as disk_finish
from kmi.guest import customize as guest
from kmi.host import doctor
from kmi.host.run import run
from kmi.host.store import Damaged
from kmi.host.ui import Step, amount
from kmi.model.codec import decode
from kmi.model.digest import Digest
from kmi.model.metadata import RECORDED_LATE, Metadata
from kmi.model.spec import BOOTSTRAP, OWN_DISK, BuildArchives, ImageSpec
from kmi.model.stages import CustomDisk, Disk, Inventory, OciImage, OciIndex, VerifiedImage
from kmi.pipeline.describe import describe
from kmi.pipeline.handout import hand_out, holds
from kmi.pipeline.site import Site
from kmi.pipeline.source import bootstrapped, brought, downloaded
from kmi.wrap import base as wrap_base
from kmi.wrap import image as wrap_image
from kmi.wrap import metadata_layer
from kmi.wrap.index import join

_REPAIRS = 8
"""How many damaged stages and blobs are made anew in one run: more than a chain has links."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An index in ``layout`` form below the output folder, and each image's metadata by its digest."""

    index: OciIndex
    metadata: Mapping[Digest, Metadata]


def build(specs: tuple[ImageSpec, ...], *, source: str, as_of: str, site: Site) -> Built:
    """Build every architecture of one release and join them. What the cache holds damaged is made anew on the way.
    Raises what the stages raise."""
    for _ in range(_REPAIRS):
        try:
            return _built(specs, source=source, as_of=as_of, site=site)
        except Damaged as damaged:
            site.ui.warn(f"{specs[0].id.name}: {damaged.what}, and is made again: {damaged.where}: {damaged.got}")
            site.records.clear()
    return _built(specs, source=source, as_of=as_of, site=site)


def _built(specs: tuple[ImageSpec, ...], *, source: str, as_of: str, site: Site) -> Built:
    made = [_image(spec, source=source, as_of=as_of, site=site) for spec in specs]
    index = _index(tuple(image for image, _ in made), made[0][1], site)
    return Built(index=index, metadata={image.digest: metadata for image, metadata in made})


def _image(spec: ImageSpec, *, source: str, as_of: str, site: Site) -> tuple[OciImage, Metadata]:
    if source == BOOTSTRAP:
        image, archives = bootstrapped(spec, as_of, site)
    elif source == OWN_DISK:
        image, archives = brought(spec, site), BuildArchives()
    else:
        image, archives = downloaded(spec, site), BuildArchives()
    custom, identity = _customized(spec, image, archives, as_of, site)
    disk = _finished(spec, custom, identity, site)
    return _wrapped(spec, custom, disk, as_of, site)


def _customized(
    spec: ImageSpec, image: VerifiedImage, archives: BuildArchives, as_of: str, site: Site
) -> tuple[CustomDisk, str]:
    recipe = spec.recipe
    if recipe is None:
        return _untouched(spec, image, site), str(image.digest)

    def make(out: Path, step: Step) -> Mapping[str, object]:
        doctor.room(site.store.root, doctor.ROOM)
        site.store.prove(image.path)
        disk = guest.customize(
            image,
            recipe,
            virtual_size=spec.virtual_size,
            archives=archives,
            mirrors=site.settings.package_mirrors,
            acceleration=site.acceleration(spec.id.arch),
            cache=site.store.root,
            out=out,
            log=site.log / f"{spec.id}-customize.log",
            step=step,
        )
        # Two customisations of the same input differ, so what follows is keyed by this one.
        return {"inventory": disk.inventory, "customizer": disk.customizer, "identity": secrets.token_hex(16)}

    inputs = {
        "version": guest.VERSION,
        "input": image.digest,
        "format": image.format,
        "recipe": recipe,
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
    return disk, outputs["identity"]


def _untouched(spec: ImageSpec, image: VerifiedImage, site: Site) -> CustomDisk:
    """The publisher's disk as it is. What is in it stays unknown: nothing has opened it."""
    with site.ui.step(str(spec.id), "customize") as step:
        step.done(f"left out: {spec.untouched}")
    site.record(spec.id, "customize", step, "", {}, {"left out": spec.untouched})
    return CustomDisk(
        id=spec.id,
        path=image.path,
        format=image.format,
        origin=image.origin,
        inventory=Inventory(os_release=(), kernels=(), packages=(), archives=()),
        customizer="none",
    )


def _finished(spec: ImageSpec, custom: CustomDisk, identity: str, site: Site) -> Disk:
    def make(out: Path, step: Step) -> Mapping[str, object]:
        site.store.prove(custom.path)
        log = site.log / f"{spec.id}-finish.log"
        disk = disk_finish.finish(custom, virtual_size=spec.virtual_size, out=out, log=log, step=step)
        return {"digest": disk.digest, "size": disk.size, "virtual_size": disk.virtual_size}

    inputs = {
        "version": disk_finish.VERSION,
        "customized": identity,
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
        step.done(f"{base.digest.algorithm}:{base.digest.short}…")
    named = (_base_name(base.reference), base.digest)
    record = describe(spec, custom, disk, base=named, as_of=as_of, settings=site.settings)

    def make(out: Path, step: Step) -> Mapping[str, object]:
        site.store.prove(disk.path)
        site.store.prove(base.layout)
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
        for image in images:
            site.store.prove(image.layout)
        return {"digest": join(images, metadata=metadata, out=out / "oci").digest}

    inputs = {"version": wrap_image.VERSION, "images": [image.digest for image in images]}
    stage = site.stage(name, "index", inputs, make, told=lambda o: str(o["digest"])[:19] + "…")
    digest = decode(Digest, stage.outputs["digest"])
    target = site.folder / "oci"
    site.store.prove(stage.path, quick=True)
    if not holds(target, stage.path / "oci"):
        hand_out(stage.path / "oci", target)
    site.store.proved(stage.path)
    return OciIndex(layout=target, digest=digest, images=images)


def tools() -> dict[str, str]:
    """The versions of the programs whose output gets into the image."""
    return {"qemu-img": run(["qemu-img", "--version"]).stdout.splitlines()[0].removeprefix("qemu-img version ")}


def _base_name(reference: str) -> str:
    """A local layout's path says nothing to anybody else and would differ from machine to machine."""
    return "local" if Path(reference.removeprefix("oci:")).exists() else reference
