"""The disk inside an image, as a range of bytes in its layer: what is booted is what a registry serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmi.disk import compression, guard, sparse
from kmi.disk.archive import Archive, Member
from kmi.errors import VerificationError
from kmi.host.run import run
from kmi.model.digest import Digest
from kmi.oci.facts import packed
from kmi.oci.layout import Descriptor, Layout

_QCOW2 = b"QFI\xfb"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDisk:
    """``size`` bytes from ``offset`` in ``file`` are the disk, of ``format`` qcow2 or raw. ``file`` is the layer's
    blob itself, or a scratch copy of the disk where the layer is compressed."""

    file: Path
    offset: int
    size: int
    format: str

    @property
    def node(self) -> dict[str, Any]:
        """The range as a QEMU block node (QAPI BlockdevOptions)."""
        file = {"driver": "file", "filename": str(self.file)}
        window = {"driver": "raw", "offset": self.offset, "size": self.size, "file": file}
        return window if self.format == "raw" else {"driver": self.format, "file": window}


def locate(layout: Path, manifest: Digest, scratch: Path) -> LayerDisk:
    """Find the one regular file below ``disk/`` in the layers of ``manifest`` (KubeVirt: pkg/container-disk,
    ``GetImage``). Every blob is hashed before it is read, and the disk's header checked.

    VerificationError if a digest differs, if a layer is no archive or a bomb, if there is not exactly one disk or it is
    anything but a plain file, or if its header is refused. HostError if there is no room for a copy.
    """
    blobs = Layout(layout)
    layers = blobs.read_json(manifest).get("layers")
    if not isinstance(layers, list):
        raise VerificationError("not an image manifest", expected="a list of layers", got=layers, where=manifest)
    found: list[LayerDisk] = []
    for number, layer in enumerate(map(Descriptor.of_json, layers)):
        blobs.verify(layer)
        found += _disks(blobs.blob(layer.digest), scratch / f"layer-{number}.disk")
    if len(found) != 1:
        raise VerificationError(
            "the image does not hold one disk",
            expected="one file below disk/",
            got=f"{len(found)} files",
            where=manifest,
        )
    disk = found[0]
    guard.check(disk.file, declared=disk.format, offset=disk.offset, size=disk.size)
    return disk


def overlay(disk: LayerDisk, target: Path) -> None:
    """Make the qcow2 that takes the guest's writes, of the disk's virtual size (KubeVirt: pkg/ephemeral-disk,
    ``createBackingDisk``). The image's bytes are only ever read."""
    backing = "json:" + json.dumps(disk.node)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", disk.format, "-b", backing, target])


def _disks(blob: Path, copy: Path) -> Iterator[LayerDisk]:
    """The files below ``disk/`` in one layer. Compression goes by magic bytes, as in CDI (format-readers)."""
    with blob.open("rb") as file:
        kind = packed(file.peek(8))
        stream = file if kind == "none" else compression.unpacked(file, kind, where=blob)
        archive = Archive(stream, where=blob)
        for member in archive:
            if not member.name.removeprefix("./").startswith("disk/") or member.kind == "directory":
                continue
            if member.kind != "file" or member.climbs:
                got = f"{member.name!r}, a {member.kind}"
                raise VerificationError("the disk is no plain file", expected="a regular file", got=got, where=blob)
            if kind == "none":
                yield _range(blob, member.offset, member.size)
            else:
                yield _copied(archive, member, copy)
        while kind != "none" and stream.read(_CHUNK):  # the stream's checksum is at its end
            pass


def _copied(archive: Archive, member: Member, copy: Path) -> LayerDisk:
    sparse.write(iter(lambda: archive.read(_CHUNK), b""), copy)
    return _range(copy, 0, member.size)


def _range(file: Path, offset: int, size: int) -> LayerDisk:
    with file.open("rb") as handle:
        handle.seek(offset)
        magic = handle.read(len(_QCOW2))
    return LayerDisk(file=file, offset=offset, size=size, format="qcow2" if magic == _QCOW2 else "raw")
