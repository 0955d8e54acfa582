"""OCI image layouts on disk (image-spec, image-layout.md) and the descriptors in them (descriptor.md).

JSON is written canonically, so the same values have the same digest on any machine. Files are linked, not copied,
where the file system allows it, and nothing depends on the umask.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmi.errors import UsageError, VerificationError
from kmi.host.store import canonical, hash_file
from kmi.model.digest import Digest

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
MAX_MANIFEST = 4 * 1024 * 1024
"""Bytes of a manifest that every registry takes (distribution-spec, "Pushing Manifests")."""
_MAX_READ = 4 * MAX_MANIFEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What refers to a blob. ``architecture`` and ``os`` are the platform, empty where there is none; ``size`` is in
    bytes."""

    media_type: str
    digest: Digest
    size: int
    architecture: str = ""
    os: str = ""

    def to_json(self) -> dict[str, Any]:
        plain = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        platform = {"platform": {"architecture": self.architecture, "os": self.os}} if self.architecture else {}
        return {**plain, **platform}

    @classmethod
    def of_json(cls, value: object) -> Descriptor:
        """Read one. VerificationError if a member is missing or of the wrong kind."""
        match value:
            case {"mediaType": str(kind), "digest": str(digest), "size": int(size), **rest} if size >= 0:
                platform = rest.get("platform")
                words = platform if isinstance(platform, dict) else {}
                try:
                    return cls(
                        media_type=kind,
                        digest=Digest.parse(digest),
                        size=size,
                        architecture=str(words.get("architecture", "")),
                        os=str(words.get("os", "")),
                    )
                except ValueError as error:
                    raise VerificationError("malformed descriptor", got=error) from error
        raise VerificationError("malformed descriptor", expected="mediaType, digest, size", got=str(value)[:200])


class Layout:
    """One layout folder. ``create`` makes an empty one, ``open`` takes one that is there."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def create(cls, root: Path) -> Layout:
        for folder in (root, root / "blobs", root / "blobs" / "sha256"):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)
        _write(root / "oci-layout", canonical({"imageLayoutVersion": "1.0.0"}), 0o644)
        layout = cls(root)
        layout.set_roots(())
        return layout

    @classmethod
    def open(cls, root: Path) -> Layout:
        """UsageError if ``root`` is no layout, or one of another version."""
        try:
            marker = json.loads((root / "oci-layout").read_bytes())
        except (OSError, ValueError) as error:
            raise UsageError("not an OCI image layout", got=error, where=root) from error
        version = marker.get("imageLayoutVersion") if isinstance(marker, dict) else None
        if version != "1.0.0":
            raise UsageError("unknown version of OCI image layout", expected="1.0.0", got=version, where=root)
        return cls(root)

    def blob(self, digest: Digest) -> Path:
        return self.root / "blobs" / digest.algorithm / digest.hex

    @property
    def blobs(self) -> Path:
        """Where blobs named by SHA-256 lie."""
        return self.root / "blobs" / "sha256"

    def add_json(self, media_type: str, value: Mapping[str, Any]) -> Descriptor:
        return self.add_bytes(media_type, canonical(value))

    def add_bytes(self, media_type: str, data: bytes) -> Descriptor:
        digest = Digest(algorithm="sha256", hex=hashlib.sha256(data).hexdigest())
        _write(self.blob(digest), data, 0o444)
        return Descriptor(media_type=media_type, digest=digest, size=len(data))

    def take(self, other: Layout, digest: Digest) -> None:
        """Put another layout's blob into this one, by link where both share a file system.

        The content is trusted to match its name: both are kmi's own, or ``verify`` has seen it.
        """
        source, target = other.blob(digest), self.blob(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return
        try:
            os.link(source, target)
        except OSError:  # another file system, or one that has no links
            temporary = target.with_name(f".{target.name}")
            shutil.copyfile(source, temporary)
            temporary.chmod(0o444)
            temporary.replace(target)

    def roots(self) -> tuple[Descriptor, ...]:
        """What index.json refers to. VerificationError if it is malformed."""
        try:
            index = (self.root / "index.json").read_bytes()
        except OSError as error:
            raise VerificationError("cannot read the layout's index.json", got=error, where=self.root) from error
        return manifests(load(index))

    def set_roots(self, roots: tuple[Descriptor, ...]) -> None:
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [root.to_json() for root in roots]}
        _write(self.root / "index.json", canonical(index), 0o644)

    def read(self, digest: Digest) -> bytes:
        """A manifest's or config's bytes, proved by their digest. VerificationError if they do not match, are absent
        or exceed 16 MiB."""
        path = self.blob(digest)
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_READ + 1)
        except OSError as error:
            raise VerificationError("a blob is missing from the layout", expected=digest, got=error) from error
        if len(data) > _MAX_READ:
            raise VerificationError("a manifest is too large", expected=f"at most {_MAX_READ} bytes", where=path)
        got = Digest(algorithm=digest.algorithm, hex=hashlib.new(digest.algorithm, data).hexdigest())
        if got != digest:
            raise VerificationError("a blob does not match its name", expected=digest, got=got, where=path)
        return data

    def read_json(self, digest: Digest) -> dict[str, Any]:
        return load(self.read(digest))

    def verify(self, descriptor: Descriptor) -> None:
        """Hash a blob of any size. VerificationError if it is absent or differs in size or content."""
        path = self.blob(descriptor.digest)
        if not path.is_file() or path.stat().st_size != descriptor.size:
            raise VerificationError("a blob is missing or has another size", expected=descriptor.digest, where=path)
        if (got := hash_file(path, descriptor.digest.algorithm)) != descriptor.digest:
            raise VerificationError("a blob does not match its name", expected=descriptor.digest, got=got, where=path)

    def images(self, digest: Digest) -> Iterator[Descriptor]:
        """The image manifests at ``digest``: itself, or an index's children with their platforms."""
        raw = self.read(digest)
        value = load(raw)
        if "manifests" in value:
            yield from manifests(value)
        else:
            yield Descriptor(media_type=str(value.get("mediaType", MANIFEST)), digest=digest, size=len(raw))


def load(data: bytes) -> dict[str, Any]:
    """Read a JSON object. VerificationError if it is none."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise VerificationError("malformed JSON in a manifest", got=error) from error
    if not isinstance(value, dict):
        raise VerificationError("a manifest is not a JSON object", got=str(value)[:100])
    return value


def manifests(index: Mapping[str, Any]) -> tuple[Descriptor, ...]:
    """An index's children. VerificationError if it is malformed."""
    entries = index.get("manifests")
    if not isinstance(entries, list):
        raise VerificationError("malformed image index", expected="a list of manifests", got=str(entries)[:100])
    return tuple(Descriptor.of_json(entry) for entry in entries)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a whole file or none; the mode is exact."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(data)
    Path(name).replace(path)
