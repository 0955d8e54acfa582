"""The image index over all architectures (image-spec, image-index.md); always made, even of one."""

from __future__ import annotations

from pathlib import Path

from kmi.errors import InternalError
from kmi.model.metadata import Metadata, shared_labels
from kmi.model.stages import OciImage, OciIndex
from kmi.oci.layout import INDEX, MANIFEST, Descriptor, Layout


def join(images: tuple[OciImage, ...], *, metadata: Metadata, out: Path) -> OciIndex:
    """Write a new OCI layout at ``out`` with the index and everything it refers to, linked where possible.

    ``metadata`` is the first image's record, of which the index carries what holds for every architecture. Raises
    InternalError for no images, two of one architecture, or images of several releases.
    """
    ordered = tuple(sorted(images, key=lambda image: image.id.arch.value))
    if not images or len({i.id.arch for i in images}) != len(images) or len({i.id.name for i in images}) != 1:
        raise InternalError("these images make no index", got=", ".join(str(image.id) for image in images) or "none")
    layout = Layout.create(out)
    for image in ordered:
        _take(layout, Layout(image.layout), image)
    index = layout.add_json(
        INDEX,
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [_child(image).to_json() for image in ordered],
            "annotations": shared_labels(metadata),
        },
    )
    layout.set_roots((index,))
    return OciIndex(layout=out, digest=index.digest, images=ordered)


def _take(layout: Layout, source: Layout, image: OciImage) -> None:
    manifest = source.read_json(image.digest)
    layout.take(source, image.digest)
    for part in (manifest["config"], *manifest["layers"]):
        layout.take(source, Descriptor.of_json(part).digest)


def _child(image: OciImage) -> Descriptor:
    return Descriptor(
        media_type=MANIFEST, digest=image.digest, size=image.size, architecture=image.id.arch.value, os="linux"
    )
