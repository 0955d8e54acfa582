"""The base image: resolved once to a digest, kept in the cache, its layers never changed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmi.errors import UsageError, VerificationError
from kmi.host.store import Store
from kmi.host.ui import Step
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.oci import registry
from kmi.oci.layout import LAYER, Descriptor, Layout
from kmi.oci.reference import layout_path, parse

_VERSION = 1
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_LAYERS = {LAYER: LAYER, LAYER + "+gzip": LAYER + "+gzip", LAYER + "+zstd": LAYER + "+zstd",
           _DOCKER_LAYER: LAYER, _DOCKER_LAYER + ".gzip": LAYER + "+gzip"}  # fmt: skip
"""The same bytes under their OCI name (image-spec, media-types.md, "Compatibility Matrix")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """One architecture's base in an OCI layout of the cache. ``reference`` is what was asked for; ``digest`` is what
    that meant (of the index, if it is one). ``env`` and ``history`` are the base config's."""

    layout: Path
    reference: str
    digest: Digest
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]
    env: tuple[str, ...]
    history: tuple[Mapping[str, Any], ...]


def resolve(base: str, arch: Arch, *, store: Store, step: Step | None = None) -> Base:
    """``base`` is an image reference or an OCI layout (a folder, or ``oci:PATH``).

    A tag is looked up once in each call; what it means is pulled once and cached by digest. Raises UsageError
    (malformed, or no such architecture), NetworkError (registry), VerificationError (a blob that does not match).
    """
    folder = layout_path(base)
    if folder is None:
        return _from_registry(base, arch, store, step)
    return _from_layout(base, Layout.open(folder), arch, store)


def _from_registry(base: str, arch: Arch, store: Store, step: Step | None) -> Base:
    reference = parse(base)
    digest = reference.digest or registry.resolve(reference)

    def build(out: Path) -> Mapping[str, object]:
        if step:
            step.detail(f"pulling {reference.name}@{digest.hex[:12]}")
        layout = registry.pull(reference.pinned(digest), out / "oci", arch)
        return {"manifest": str(layout.roots()[0].digest)}

    inputs = {"version": _VERSION, "digest": str(digest), "arch": arch.value, "from": "registry"}
    layout = Layout(store.stage("base", inputs, build).path / "oci")
    return _read(base, digest, layout, arch)


def _from_layout(base: str, source: Layout, arch: Arch, store: Store) -> Base:
    roots = source.roots()
    if not roots:
        raise UsageError("the base layout holds no image", where=base)
    chosen = _choose(source, roots, arch, base) if len(roots) > 1 else roots[0]
    manifest = _choose(source, tuple(source.images(chosen.digest)), arch, base)

    def build(out: Path) -> Mapping[str, object]:
        layout = Layout.create(out / "oci")
        value = source.read_json(manifest.digest)
        layout.add_bytes(manifest.media_type, source.read(manifest.digest))
        for part in (value.get("config"), *value.get("layers", ())):
            _copy(source, layout, Descriptor.of_json(part))
        layout.set_roots((manifest,))
        return {"manifest": str(manifest.digest)}

    inputs = {"version": _VERSION, "digest": str(manifest.digest), "arch": arch.value, "from": "layout"}
    layout = Layout(store.stage("base", inputs, build).path / "oci")
    return _read(base, chosen.digest, layout, arch)


def _copy(source: Layout, target: Layout, blob: Descriptor) -> None:
    """A copy and not a link: the folder is the user's, who may write to it again. Verified after the copy."""
    path = target.blob(blob.digest)
    path.parent.mkdir(exist_ok=True)
    if path.exists():  # an image may have the same layer twice
        return
    try:
        shutil.copyfile(source.blob(blob.digest), path)
    except (FileNotFoundError, IsADirectoryError) as error:  # and not a full disk: that is no fault of the base's
        raise VerificationError("the base lacks a blob", expected=blob.digest, got=error, where=source.root) from error
    path.chmod(0o444)
    target.verify(blob)


def _choose(layout: Layout, found: tuple[Descriptor, ...], arch: Arch, base: str) -> Descriptor:
    """The one for ``arch``: by the platform in its descriptor, else by what it refers to."""
    fitting = [entry for entry in found if arch.value in _architectures(layout, entry)]
    if len(fitting) != 1:
        seen = sorted({name for entry in found for name in _architectures(layout, entry)})
        raise UsageError(
            f"the base has {'no' if not fitting else 'more than one'} image for {arch}",
            expected=arch.value,
            got=", ".join(seen) or "nothing",
            where=base,
        )
    return fitting[0]


def _architectures(layout: Layout, entry: Descriptor) -> set[str]:
    if entry.architecture:
        return {entry.architecture}
    value = layout.read_json(entry.digest)
    if "manifests" in value:
        return {child.architecture for child in layout.images(entry.digest)}
    return {str(layout.read_json(Descriptor.of_json(value.get("config")).digest).get("architecture"))}


def _read(base: str, digest: Digest, layout: Layout, arch: Arch) -> Base:
    """``layout`` is the cache's, of one image."""
    value = layout.read_json(layout.roots()[0].digest)
    config = layout.read_json(Descriptor.of_json(value.get("config")).digest)
    if (got := config.get("architecture")) != arch.value:
        raise UsageError("the base is of another architecture", expected=arch, got=got, where=base)
    layers = tuple(_oci(Descriptor.of_json(layer), base) for layer in value.get("layers", ()))
    diff_ids = tuple(map(str, config.get("rootfs", {}).get("diff_ids", ())))
    if len(layers) != len(diff_ids):
        raise VerificationError("the base's layers and diff IDs differ in number", expected=len(layers),
                                got=len(diff_ids), where=base)  # fmt: skip
    env = tuple(map(str, config.get("config", {}).get("Env") or ()))
    history = tuple(config.get("history") or ())
    return Base(layout=layout.root, reference=base, digest=digest, layers=layers, diff_ids=diff_ids, env=env,
                history=history)  # fmt: skip


def _oci(layer: Descriptor, base: str) -> Descriptor:
    if layer.media_type not in _LAYERS:
        raise UsageError("the base has a layer of an unknown kind", got=layer.media_type, where=base)
    return Descriptor(media_type=_LAYERS[layer.media_type], digest=layer.digest, size=layer.size)
