"""From layouts on disk, of one architecture each or several, to one index over a whole release. Nothing in them is
believed: every blob is hashed, every rule of the containerDisk contract looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmi.catalogue import Catalogue
from kmi.errors import UsageError, VerificationError
from kmi.host.ui import plain
from kmi.model.digest import Digest
from kmi.model.metadata import Metadata, of_labels
from kmi.model.platform import Arch, Firmware
from kmi.model.spec import ImageId, ImageSpec
from kmi.model.stages import OciImage
from kmi.oci.contract import Severity, lint
from kmi.oci.layout import INDEX, MANIFEST, Descriptor, Layout
from kmi.pipeline.build import Built
from kmi.pipeline.releases import Release
from kmi.wrap import index


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An image in a layout, whole and unchanged, and what its labels say."""

    image: OciImage
    metadata: Metadata


def found(folders: Iterable[Path], told: Callable[[str], None] = lambda _: None) -> tuple[Found, ...]:
    """Every image in the layouts. ``told`` hears what is hashed.

    UsageError for what is no layout, VerificationError for a blob that is not what its digest says, and for an image
    that breaks the containerDisk contract or says of itself what cannot be.
    """
    return tuple(one for folder in folders for one in _images(Layout.open(folder), told))


def release(images: Sequence[Found], catalogue: Catalogue) -> Release:
    """The images of the catalogue that these are, in its order. UsageError for one that it does not have, for images
    of several releases, and for two of one architecture."""
    names = sorted({one.image.id.name for one in images})
    if len(names) != 1:
        raise UsageError("these layouts make no index", expected="images of one release", got=", ".join(names))
    known = {spec.id: spec for spec in catalogue.specs}
    for one in images:
        if one.image.id not in known:
            offered = [str(other) for other in known if other.distro == one.image.id.distro]
            raise UsageError(
                f"the catalogue has no image {one.image.id}",
                expected=", ".join(offered) or f"a manifest for {one.image.id.distro}",
                where=one.image.layout,
                hint="publish with the catalogue that it was built from: --distros DIR",
            )
    given = [one.image.id for one in images]
    if twice := {str(one) for one in given if given.count(one) > 1}:
        raise UsageError("these layouts make no index", expected="one image of each", got=f"two of {min(twice)}")
    return tuple(spec for spec in catalogue.specs if spec.id in given)


def joined(images: Sequence[Found], specs: tuple[ImageSpec, ...], out: Path) -> Built:
    """One index over the images in a new layout at ``out``: the same digest as a build of all of them in one go."""
    place = [spec.id for spec in specs]
    ordered = sorted(images, key=lambda one: place.index(one.image.id))
    made = index.join(tuple(one.image for one in ordered), metadata=ordered[0].metadata, out=out)
    return Built(index=made, metadata={one.image.digest: one.metadata for one in images})


def _images(layout: Layout, told: Callable[[str], None]) -> list[Found]:
    roots = layout.roots()
    if not roots:
        raise UsageError("the layout holds no image", where=layout.root)
    children: list[Descriptor] = []
    for root in roots:
        layout.verify(root)
        children += layout.images(root.digest) if root.media_type == INDEX else [root]
    return [_found(layout, child, told) for child in children]


def _found(layout: Layout, child: Descriptor, told: Callable[[str], None]) -> Found:
    if child.media_type != MANIFEST:
        raise VerificationError("not an image", expected=MANIFEST, got=plain(child.media_type), where=layout.root)
    layout.verify(child)
    manifest = layout.read_json(child.digest)
    parts = [Descriptor.of_json(part) for part in (manifest.get("config"), *(manifest.get("layers") or ()))]
    for part in parts:
        told(f"hashing {part.digest.algorithm}:{part.digest.short}…")
        layout.verify(part)
    broken = [
        f"{finding.rule.id}: {finding.detail}"
        for finding in lint(layout.root, child.digest, child if child.architecture else None)
        if finding.outcome is Severity.VIOLATION
    ]
    if broken:
        got = plain("; ".join(broken))
        raise VerificationError("the image breaks the containerDisk contract", got=got, where=layout.root)
    return _described(layout, child, layout.read_json(parts[0].digest))


def _described(layout: Layout, child: Descriptor, config: dict[str, object]) -> Found:
    settings = config.get("config")
    labels = settings.get("Labels") if isinstance(settings, dict) else None
    metadata = of_labels(labels if isinstance(labels, dict) else {})
    try:
        if metadata["architecture"] != config.get("architecture"):
            raise ValueError(f"the label says {metadata['architecture']!r}, the config {config.get('architecture')!r}")
        if not (metadata["distro"] and metadata["release"]):
            raise ValueError("no label tells distro and release")
        for name in metadata["firmware"].split():
            Firmware(name)
        image = OciImage(
            id=ImageId(distro=metadata["distro"], release=metadata["release"], arch=Arch(metadata["architecture"])),
            layout=layout.root,
            digest=child.digest,
            size=child.size,
            disk=Digest.parse(metadata["disk-digest"]),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise VerificationError(
            "the image does not say what it is", expected="kmi's labels", got=plain(str(error)), where=layout.root
        ) from error
    return Found(image=image, metadata=metadata)
