"""From the file that a publisher serves to the disk in it: decompressed, and taken out of its archive."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import NoReturn

from kmi.disk import compression, sparse
from kmi.disk.archive import Archive, Member
from kmi.errors import VerificationError
from kmi.host.ui import Step
from kmi.model.digest import Digest
from kmi.model.spec import Packing

_DISKS = (".raw", ".img", ".qcow2", ".vmdk")
"""How a disk's name ends, where the manifest does not name the member."""
_MEMBER_LIMIT = 1000
_CHUNK = 1 << 20


def unpack(
    source: Path,
    target: Path,
    *,
    packing: Packing,
    where: str,
    algorithms: Sequence[str],
    cap: compression.Cap | None = None,
    step: Step,
) -> dict[str, Digest]:
    """Write the disk in ``source`` to ``target``, sparse, and return its digests, one for each algorithm. ``where`` is
    the source in messages.

    VerificationError for a stream that is cut, damaged or a bomb, and for an archive with anything but folders and
    plain files below its top, each once. HostError if the disk is full. Then ``target`` is not there.
    """
    total = source.stat().st_size
    with source.open("rb") as file:
        content = compression.unpacked(file, packing.compression, where=where, cap=cap)
        pieces = _member(content, packing.member, where) if packing.archive else _all(content)
        return sparse.write(
            pieces, target, algorithms=algorithms, on_write=lambda _: step.progress(file.tell(), total, "unpacking")
        )


def _all(content: BufferedReader) -> Iterator[bytes]:
    while data := content.read(_CHUNK):
        yield data


def _member(content: BufferedReader, name: str, where: str) -> Iterator[bytes]:
    """The bytes of the one disk, and then the rest of the archive for its faults."""
    archive = Archive(content, where=where)
    seen: set[str] = set()
    found: list[str] = []
    for entry in archive:
        path = _harmless(entry, seen, where)
        if entry.kind != "file" or not (path == posixpath.normpath(name) if name else path.endswith(_DISKS)):
            continue
        found.append(path)
        if len(found) > 1:
            break
        while data := archive.read(_CHUNK):
            yield data
    if len(found) != 1:
        _refuse(repr(name) if name else f"one file that ends in {', '.join(_DISKS)}", f"{found or sorted(seen)}", where)
    for _ in _all(content):  # the stream's own checksum is at its end
        pass


def _harmless(entry: Member, seen: set[str], where: str) -> str:
    """The member's path in its shortest form."""
    path = posixpath.normpath(entry.name)
    if entry.climbs:
        _refuse("members below the archive's top", f"{entry.name!r}", where)
    if entry.kind not in ("file", "directory"):
        _refuse("plain files and folders", f"{entry.name!r}, a {entry.kind}", where)
    if path in seen:
        _refuse("each name once", f"{entry.name!r} again", where)
    seen.add(path)
    if len(seen) > _MEMBER_LIMIT:
        _refuse(f"at most {_MEMBER_LIMIT} members", "more", where)
    return path


def _refuse(expected: str, got: str, where: str) -> NoReturn:
    raise VerificationError("cannot take a disk out of this archive", expected=expected, got=got[:300], where=where)
