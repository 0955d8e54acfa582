"""What the containerDisk rules look at: one image, read from a layout in one pass over each of its layers.

Nothing is unpacked. A layer is read as CDI reads it: decompression by magic bytes, not by media type
(containerized-data-importer pkg/importer/format-readers.go).
"""

from __future__ import annotations

import gzip
import hashlib
import importlib
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, Any, cast

from kmi.errors import HostError, VerificationError
from kmi.oci.layout import Descriptor, Layout

_HEAD = 4096
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A tar member whose name begins with ``disk``. ``head`` holds a file's first 4096 bytes; ``kind`` is file,
    directory or the tar type's name for anything else."""

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
    """Read one image manifest and everything below it. VerificationError if a layer is no tar stream or a manifest is
    malformed or damaged; HostError for zstd layers where Python cannot read them."""
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
        with _unpacked(BufferedReader(stored), path) as stream:
            content = _Hashed(cast(RawIOBase, stream))
            try:
                members, others = _members(cast(IO[bytes], content))
                content.drain()
                stored.drain()
            except (tarfile.TarError, EOFError, OSError, ValueError) as error:
                raise VerificationError("a layer is no tar stream", got=error, where=path) from error
    return LayerFacts(
        descriptor=descriptor, digest=stored.digest, diff_id=content.digest, members=tuple(members), others=others
    )


def _members(stream: IO[bytes]) -> tuple[list[Member], int]:
    members, others = [], 0
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for entry in archive:
            name = entry.name + ("/" if entry.isdir() else "")
            base = name.removeprefix("./").lstrip("/")
            if not base.startswith("disk") or "/.wh." in f"/{base}":
                others += bool(base)
                continue
            kind = "file" if entry.isreg() else "directory" if entry.isdir() else f"type {entry.type!r}"
            file = archive.extractfile(entry) if entry.isreg() else None
            head = file.read(_HEAD) if file else b""
            members.append(Member(name=name, kind=kind, mode=entry.mode, uid=entry.uid, gid=entry.gid,
                                  size=entry.size, head=head))  # fmt: skip
    return members, others


@contextmanager
def _unpacked(stream: BufferedReader, path: Path) -> Iterator[IO[bytes]]:
    magic = stream.peek(4)[:4]
    kind = next((name for start, name in _MAGIC.items() if magic.startswith(start)), "")
    if kind == "gzip":
        with gzip.GzipFile(fileobj=stream) as unpacked:
            yield cast(IO[bytes], unpacked)
    elif kind == "zstd":
        try:
            zstd = importlib.import_module("backports.zstd")
        except ImportError as error:
            raise HostError("cannot read a zstd layer", where=path, hint="install backports.zstd") from error
        with zstd.open(stream) as unpacked:
            yield unpacked
    else:
        yield stream


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
