"""One architecture's image: the base's layers, kmi's small layer, and the disk.

A pure function: the same disk, metadata and base give the same digest on any machine, at any time, for any user.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kmi.errors import InternalError
from kmi.host.ui import Step
from kmi.model.metadata import Metadata, labels
from kmi.model.platform import Arch
from kmi.model.spec import LegalText
from kmi.model.stages import Disk, OciImage
from kmi.oci.layer import QEMU, LayerBlob, disk_layer
from kmi.oci.layout import CONFIG, LAYER, MANIFEST, Descriptor, Layout
from kmi.wrap import metadata_layer
from kmi.wrap.base import Base

VERSION = 1
"""In the stage key: raise it when the bytes that this module writes change."""

_ENV = "INSTANCETYPE_KUBEVIRT_IO_DEFAULT_"
"""CDI turns these variables into labels of the imported volume (pkg/importer/util.go and envsToLabels)."""


def wrap(
    disk: Disk,
    *,
    metadata: Metadata,
    licence: LegalText,
    eula: LegalText | None,
    base: Base,
    released_at: datetime,
    arch: Arch,
    out: Path,
    step: Step | None = None,
) -> OciImage:
    """Write a new OCI layout at ``out`` that holds the one image, and return it.

    ``released_at`` (UTC) is the time of everything written. Raises VerificationError if the disk's bytes are not those
    of ``disk.digest``, InternalError if the metadata tells of another disk, base or architecture.
    """
    _same(metadata, {"disk-digest": disk.digest, "base-digest": base.digest, "architecture": arch})
    layout = Layout.create(out)
    source = Layout(base.layout)
    for layer in base.layers:
        layout.take(source, layer.digest)
    small = metadata_layer.build(metadata, licence, eula, out=layout.blobs, released_at=released_at)
    large = disk_layer(disk.path, disk.digest, layout.blobs, released_at, step)
    config = layout.add_json(CONFIG, _config(metadata, base, arch, released_at, (small, large)))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in (*base.layers, _descriptor(small), _descriptor(large))],
        "annotations": labels(metadata),
    }
    image = layout.add_json(MANIFEST, manifest)
    layout.set_roots((image,))
    return OciImage(id=disk.id, layout=out, digest=image.digest, size=image.size, disk=disk.digest)


def _config(
    metadata: Metadata, base: Base, arch: Arch, released_at: datetime, added: tuple[LayerBlob, LayerBlob]
) -> dict[str, Any]:
    """The image config (image-spec, config.md). Nothing of the base's labels, entrypoint or user is taken over."""
    created = released_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kept = [entry for entry in base.history if not entry.get("empty_layer")]
    history = list(base.history) if len(kept) == len(base.layers) else [
        {"created": created, "created_by": "base"} for _ in base.layers
    ]  # fmt: skip
    ours = [{"created": created, "created_by": f"kmi: {what}"} for what in ("entrypoint and metadata", "disk")]
    return {
        "architecture": arch.value,
        "os": "linux",
        "created": created,
        "config": {
            "User": f"{QEMU}:{QEMU}",
            "Env": _env(metadata, base),
            "Entrypoint": ["/" + metadata_layer.ENTRYPOINT],
            "WorkingDir": "/",
            "Labels": labels(metadata),
        },
        "rootfs": {"type": "layers", "diff_ids": [*base.diff_ids, *(str(layer.digest) for layer in added)]},
        "history": history + ours,
    }


def _env(metadata: Metadata, base: Base) -> list[str]:
    """The base's variables, then KubeVirt's defaults for volumes imported from this image."""
    ours = {}
    for name in ("instancetype", "preference"):
        if metadata[name]:
            ours[_ENV + name.upper()] = metadata[name]
            ours[_ENV + name.upper() + "_KIND"] = f"VirtualMachineCluster{name.capitalize()}"
    return [*(pair for pair in base.env if pair.partition("=")[0] not in ours), *(f"{k}={v}" for k, v in ours.items())]


def _descriptor(layer: LayerBlob) -> Descriptor:
    return Descriptor(media_type=LAYER, digest=layer.digest, size=layer.size)


def _same(metadata: Metadata, facts: Mapping[str, object]) -> None:
    for name, value in facts.items():
        if metadata[name] != str(value):
            raise InternalError(f"the metadata tells of another {name}", expected=value, got=metadata[name])
