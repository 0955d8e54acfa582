"""Layers: deterministic, uncompressed tar streams, written and hashed in one pass.

The headers are written here and not by ``tarfile``, whose bytes have changed between Python versions; a digest must
not. The format is POSIX pax (IEEE Std 1003.1, pax, "ustar Interchange Format" and "pax Extended Header"), which Go's
archive/tar (containerd, Docker, CDI), GNU tar and Python read. GNU's base-256 sizes are avoided.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from pathlib import Path

from kmi.errors import InternalError, VerificationError
from kmi.host.ui import Step
from kmi.model.digest import Digest

QEMU = 107
"""The user and group that KubeVirt runs as (kubevirt cmd/virt-launcher/qemu.conf; user-guide, containerDisk)."""
DISK_DIRECTORY = "disk/"
DISK_FILE = "disk/disk.qcow2"
ALIGNMENT = 4096
"""The disk's bytes begin at a multiple of this, so that file systems that share extents need no copy."""
_BLOCK = 512
_CHUNK = 1024 * 1024
_OCTAL_LIMIT = 8**11
_END = bytes(2 * _BLOCK)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBlob:
    """A finished layer at ``path``, named by its digest, which is its diff ID too. ``data_offset`` is where the last
    file's bytes begin."""

    path: Path
    digest: Digest
    size: int
    data_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A member of a small layer, owned by ``owner`` (user and group): a file, a directory (``data`` None, name ends
    in ``/``) or a symbolic link (``link`` is its target)."""

    name: str
    mode: int
    data: bytes | None = None
    link: str = ""
    owner: int = 0


def disk_layer(disk: Path, expected: Digest, out: Path, released_at: datetime, step: Step | None = None) -> LayerBlob:
    """The layer that holds ``disk/`` (0555) and ``disk/disk.qcow2`` (0444), owned by 107:107, and nothing else.

    ``out`` is the folder that the blob is named in; ``expected`` is the disk's SHA-256, computed again in this pass.
    Raises VerificationError if the disk is not what it was.
    """
    time = epoch(released_at)
    size = disk.stat().st_size
    directory = _header(DISK_DIRECTORY, mode=0o555, owner=QEMU, size=0, time=time, kind=b"5")
    start = directory + _aligned(len(directory), size) + _header(
        DISK_FILE, mode=0o444, owner=QEMU, size=size if size < _OCTAL_LIMIT else 0, time=time, kind=b"0"
    )  # fmt: skip
    if len(start) % ALIGNMENT:
        raise InternalError("the disk's data is not aligned in its layer", got=len(start))
    with _Blob(out) as blob, disk.open("rb") as source:
        blob.write(start)
        got = _stream(source, size, blob, step)
        if got != expected:
            raise VerificationError("the disk changed before it was wrapped", expected=expected, got=got, where=disk)
        blob.write(bytes(-size % _BLOCK) + _END)
        return blob.finish(len(start))


def small_layer(entries: Sequence[Entry], out: Path, released_at: datetime) -> LayerBlob:
    """A layer of small files, in the order given (parents first)."""
    time = epoch(released_at)
    with _Blob(out) as blob:
        offset = 0
        for entry in entries:
            data = entry.data or b""
            kind = b"2" if entry.link else b"0" if entry.data is not None else b"5"
            header = _header(
                entry.name, mode=entry.mode, owner=entry.owner, size=len(data), time=time, kind=kind, link=entry.link
            )
            blob.write(header)
            offset = blob.size
            blob.write(data + bytes(-len(data) % _BLOCK))
        blob.write(_END)
        return blob.finish(offset)


def epoch(moment: datetime) -> int:
    """Seconds since 1970 of an aware time; InternalError for a naive one, which means another time on each host."""
    if moment.tzinfo is None:
        raise InternalError("a time without zone reached a layer", got=moment.isoformat())
    return int(moment.timestamp())


class _Blob:
    """A file that is hashed while it is written and gets its digest as name; an unfinished one is removed."""

    def __init__(self, out: Path) -> None:
        handle, name = tempfile.mkstemp(dir=out, prefix=".layer-")
        self._temporary = Path(name)
        self._file = os.fdopen(handle, "wb", buffering=0)
        self._hash = hashlib.sha256()
        self.size = 0

    def __enter__(self) -> _Blob:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data)
        self._hash.update(view)
        self.size += len(view)
        while view:
            view = view[self._file.write(view) :]

    def finish(self, data_offset: int) -> LayerBlob:
        digest = Digest(algorithm="sha256", hex=self._hash.hexdigest())
        os.fchmod(self._file.fileno(), 0o444)
        path = self._temporary.with_name(digest.hex)
        self._temporary.replace(path)
        return LayerBlob(path=path, digest=digest, size=self.size, data_offset=data_offset)


def _stream(source: BufferedReader, size: int, blob: _Blob, step: Step | None) -> Digest:
    """Copy exactly ``size`` bytes and hash them. VerificationError if the file has fewer."""
    disk = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK))
    done = 0
    while done < size:
        count = source.readinto(buffer[: min(_CHUNK, size - done)])
        if not count:
            raise VerificationError("the disk became shorter while it was wrapped", expected=size, got=done)
        disk.update(buffer[:count])
        blob.write(buffer[:count])
        done += count
        if step:
            step.progress(done, size, "wrap")
    return Digest(algorithm="sha256", hex=disk.hexdigest())


def _aligned(before: int, size: int) -> bytes:
    """A pax extended header after which one more header ends on a multiple of ``ALIGNMENT``.

    It holds the size where ustar's eleven octal digits cannot, and a ``comment``, which readers ignore.
    """
    records = _record("size", str(size)) if size >= _OCTAL_LIMIT else b""
    payload = ALIGNMENT - (before + 2 * _BLOCK) % ALIGNMENT
    room = payload - len(records)
    width = next(n for n in range(room, 0, -1) if len(_record("comment", " " * n)) <= room)
    records += _record("comment", "padding to a block".ljust(width))
    header = _header("pax", mode=0o444, owner=0, size=payload, time=0, kind=b"x")
    if len(records) != payload:
        raise InternalError("no pax record of this length", expected=payload, got=len(records))
    return header + records


def _record(key: str, value: str) -> bytes:
    """``length key=value`` and a line feed; the length counts itself."""
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def _header(name: str, *, mode: int, owner: int, size: int, time: int, kind: bytes, link: str = "") -> bytes:
    """One ustar header block: numeric owner, no names, no device numbers."""
    encoded, target = name.encode(), link.encode()
    if len(encoded) > 100 or len(target) > 100 or not 0 <= time < _OCTAL_LIMIT or not 0 <= size < _OCTAL_LIMIT:
        raise InternalError("does not fit a ustar header", got=f"{name!r} {size} {time}")
    fields = [encoded.ljust(100, b"\0"), _octal(mode, 8), _octal(owner, 8), _octal(owner, 8), _octal(size, 12)]
    fields += [_octal(time, 12), b" " * 8, kind, target.ljust(100, b"\0"), b"ustar\x0000"]
    block = b"".join(fields).ljust(_BLOCK, b"\0")
    checksum = b"%06o\0 " % sum(block)
    return block[:148] + checksum + block[156:]


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)
