"""What the containerDisk rules look at: one image, read from a layout in one pass over each of its layers.

Nothing is unpacked. A layer is read as CDI reads it: decompression by magic bytes, not by media type
(containerized-data-importer pkg/importer/format-readers.go). It may be anybody's: what it unpacks to is bounded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from typing import Any, BinaryIO, cast

from kmi.disk import compression
from kmi.disk.archive import Archive
from kmi.errors import VerificationError
from kmi.oci.layout import Descriptor, Layout

LAYER_COMPRESSIONS = ("gz", "zst")
"""What a layer may be packed with (image-spec, layer.md)."""
_HEAD = 4096
_MEMBER_LIMIT = 10_000
"""Members whose name begins with ``disk``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A tar member whose name begins with ``disk``. ``head`` holds a file's first 4096 bytes; ``kind`` is file,
    directory or what else the archive says it is (``kmi.disk.archive``)."""

    name: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    head: bytes

    @property
    def path(self) -> str:
        """The name without a leading ``./`` or ``/``, and without a trailing slash."""
        return self.name.removeprefix("./").strip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFacts:
    """One layer: what it says, what it is (``digest`` and ``diff_id`` as computed here), its members that matter, and
    how many others it has."""

    descriptor: Descriptor
    digest: str
    diff_id: str
    members: tuple[Member, ...]
    others: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One image. ``child`` is its descriptor in an index, None if it stands alone."""

    child: Descriptor | None
    manifest: Mapping[str, Any]
    manifest_size: int
    config: Mapping[str, Any]
    layers: tuple[LayerFacts, ...]

    @property
    def members(self) -> tuple[Member, ...]:
        return tuple(member for layer in self.layers for member in layer.members)

    @property
    def disks(self) -> tuple[Member, ...]:
        """Everything in ``disk/`` that is no directory."""
        return tuple(m for m in self.members if m.path.startswith("disk/") and m.kind != "directory")

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the config and annotations of the manifest, the latter winning."""
        return {**(self.settings.get("Labels") or {}), **(self.manifest.get("annotations") or {})}

    @property
    def settings(self) -> Mapping[str, Any]:
        value = self.config.get("config")
        return value if isinstance(value, dict) else {}


def gather(layout: Layout, image: Descriptor) -> Facts:
    """Read one image manifest and everything below it. VerificationError if a layer is no tar stream or a bomb, or a
    manifest is malformed or damaged."""
    raw = layout.read(image.digest)
    manifest = layout.read_json(image.digest)
    config = layout.read_json(Descriptor.of_json(manifest.get("config")).digest)
    layers = tuple(_layer(layout, Descriptor.of_json(layer)) for layer in manifest.get("layers") or ())
    child = image if image.architecture else None
    return Facts(child=child, manifest=manifest, manifest_size=len(raw), config=config, layers=layers)


def _layer(layout: Layout, descriptor: Descriptor) -> LayerFacts:
    path = layout.blob(descriptor.digest)
    if not path.is_file():
        raise VerificationError("a layer is missing from the layout", expected=descriptor.digest, where=path)
    with path.open("rb", buffering=0) as file:
        stored = _Hashed(file)
        source = BufferedReader(stored, 1 << 20)
        content = _Hashed(compression.unpacked(cast(BinaryIO, source), packed(source.peek(8)), where=path))
        members, others = _members(content, path)
        content.drain()
        stored.drain()
    return LayerFacts(
        descriptor=descriptor, digest=stored.digest, diff_id=content.digest, members=tuple(members), others=others
    )


def packed(start: bytes) -> str:
    """How a layer with these first bytes is compressed; ``none`` also for what no layer may be packed with."""
    kind = compression.told(start)
    return kind if kind in LAYER_COMPRESSIONS else "none"


def _members(stream: _Hashed, where: object) -> tuple[list[Member], int]:
    members, others = [], 0
    archive = Archive(stream, where=where)
    for entry in archive:
        name = entry.name.rstrip("/") + ("/" if entry.kind == "directory" else "")
        base = name.removeprefix("./").lstrip("/")
        if not base.startswith("disk") or "/.wh." in f"/{base}":
            others += bool(base)
            continue
        head = archive.read(_HEAD) if entry.kind == "file" else b""
        members.append(Member(name=name, kind=entry.kind, mode=entry.mode, uid=entry.uid, gid=entry.gid,
                              size=entry.size, head=head))  # fmt: skip
        if len(members) > _MEMBER_LIMIT:
            raise VerificationError("too many disks in a layer", expected=f"at most {_MEMBER_LIMIT}", where=where)
    return members, others


class _Hashed(RawIOBase):
    """Passes reads through and hashes them."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = bytes(self._source.read(size))
        self._hash.update(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def drain(self) -> None:
        while self.read(1024 * 1024):
            pass

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"
