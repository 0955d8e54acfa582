"""The look at a foreign disk before any program opens it: a pure reader of its header.

qemu-img given a qcow2 with a backing file copies that host file into its output, and a raw file that begins like a
qcow2 is taken for one (CVE-2010-3851, CVE-2024-32498). Offsets and feature bits are QEMU's, docs/interop/qcow2.txt.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from kmi.errors import VerificationError

VIRTUAL_LIMIT = 2 << 40
"""Bytes; a larger virtual size is a bomb, not a root disk."""

_MAGIC = b"QFI\xfb"
_FOREIGN = {
    _MAGIC: "qcow2",
    b"KDMV": "vmdk",
    b"COWD": "vmdk",
    b"# Disk DescriptorFile": "vmdk",
    b"vhdxfile": "vhdx",
    b"conectix": "vpc",
    b"QED\0": "qed",
    b"LUKS\xba\xbe": "luks",
    b"WithoutFreeSpace": "parallels",
    b"WithouFreSpacExt": "parallels",
    b"Bochs Virtual HD": "bochs",
    b"<<< ": "vdi",
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"<!DOCTYPE": "html",
    b"<!doctype": "html",
    b"<html": "html",
}
"""How other formats begin; a raw disk may begin with none of them, because programs probe for them."""

_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")
_FORBIDDEN_BITS = {0: "marked dirty", 1: "marked corrupt", 2: "external data file", 4: "extended L2 entries"}
_COMPRESSION_BIT = 1 << 3
_COMPRESSIONS = {0: "zlib", 1: "zstd"}
_EXTENSIONS = {0xE2792ACA: "backing file", 0x44415441: "external data file", 0x0537BE77: "encryption"}
_L1_LIMIT = 32 << 20
"""Bytes: QCOW_MAX_L1_SIZE in QEMU's block/qcow2.h."""
_OFFSET_MASK = 0x00FFFFFFFFFFFE00


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the disk says of itself. Sizes in bytes; ``compression`` is zlib or zstd, empty for raw."""

    format: str
    virtual_size: int
    cluster_size: int = 0
    compression: str = ""


def check(path: Path, *, declared: str, offset: int = 0, size: int | None = None) -> Header:
    """Read the header of the disk that fills ``path``, or ``size`` bytes of it from ``offset`` (a disk in a tar layer).

    ``declared`` is raw or qcow2: the format is never guessed. VerificationError for a disk that is not of that
    format, refers to any other file, is encrypted, has snapshots or unknown features, is cut, or is absurdly large.
    """
    available = path.stat().st_size - offset
    size = available if size is None else size
    if size > available or size < 512:
        _refuse(path, "a whole disk", f"{min(size, available)} bytes")
    reader = {"raw": _raw, "qcow2": _qcow2}.get(declared)
    if reader is None:
        _refuse(path, "format raw or qcow2", declared)
    with path.open("rb") as file:
        return reader(_View(file, path, offset, size))


class _View:
    """A part of a file, read at offsets that count from the part's start."""

    def __init__(self, file: BinaryIO, path: Path, offset: int, size: int) -> None:
        self._file = file
        self._offset = offset
        self.path = path
        self.size = size

    def read(self, at: int, length: int, what: str) -> bytes:
        self.inside(at, length, what)
        self._file.seek(self._offset + at)
        return self._file.read(length)

    def inside(self, at: int, length: int, what: str) -> None:
        self.demand(at + length <= self.size, f"{what} inside the file's {self.size} bytes", f"bytes {at}+{length}")

    def demand(self, holds: bool, expected: str, got: str) -> None:
        if not holds:
            _refuse(self.path, expected, got)


def _refuse(path: Path, expected: str, got: str) -> NoReturn:
    raise VerificationError("the disk is refused before any program opens it", expected=expected, got=got, where=path)


def _raw(view: _View) -> Header:
    start = view.read(0, 64, "the start")
    for magic, name in _FOREIGN.items():
        view.demand(not start.startswith(magic), "a raw disk", f"the signature of {name}")
    view.demand(view.size % 512 == 0, "whole sectors of 512 bytes", f"{view.size} bytes")
    view.demand(view.size <= VIRTUAL_LIMIT, f"at most {VIRTUAL_LIMIT} bytes", f"{view.size}")
    return Header(format="raw", virtual_size=view.size)


def _qcow2(view: _View) -> Header:
    fields = _V2.unpack(view.read(0, _V2.size, "the header"))
    magic, version, backing, backing_size, bits, virtual, crypt, l1, l1_at, refs_at, refs, snapshots, _ = fields
    view.demand(magic == _MAGIC, "a qcow2 disk", f"a file that begins with {magic!r}")
    view.demand(version in (2, 3), "qcow2 version 2 or 3", f"version {version}")
    view.demand(backing == 0 and backing_size == 0, "no backing file", "a backing file")
    view.demand(crypt == 0, "no encryption", f"encryption method {crypt}")
    view.demand(snapshots == 0, "no internal snapshots", f"{snapshots} snapshots")
    view.demand(9 <= bits <= 21, "clusters of 512 bytes to 2 MiB", f"cluster_bits {bits}")
    view.demand(0 < virtual <= VIRTUAL_LIMIT, f"a virtual size of 1 to {VIRTUAL_LIMIT} bytes", f"{virtual}")
    cluster = 1 << bits
    compression, length = _features(view, cluster) if version == 3 else ("zlib", _V2.size)
    _extensions(view, length, cluster)
    _tables(view, cluster, virtual, l1_at, l1, refs_at, refs)
    return Header(format="qcow2", virtual_size=virtual, cluster_size=cluster, compression=compression)


def _features(view: _View, cluster: int) -> tuple[str, int]:
    """Compression type and header length of a version 3 header."""
    incompatible, _, _, order, length = _V3.unpack(view.read(_V2.size, _V3.size, "the version 3 header"))
    for bit, name in _FORBIDDEN_BITS.items():
        view.demand(not incompatible >> bit & 1, f"no {name}", f"incompatible feature bit {bit}: {name}")
    unknown = incompatible & ~_COMPRESSION_BIT
    view.demand(unknown == 0, "known features only", f"incompatible feature bits {unknown:#x}")
    view.demand(order <= 6, "a refcount order of at most 6", f"{order}")
    sane = 104 <= length <= cluster and length % 8 == 0
    view.demand(sane, "a header of 104 bytes to one cluster, in steps of 8", f"{length} bytes")
    kind = view.read(104, 1, "the compression type")[0] if length > 104 else 0
    view.demand(kind in _COMPRESSIONS, "compression zlib or zstd", f"compression type {kind}")
    agrees = bool(incompatible & _COMPRESSION_BIT) == (kind != 0)
    view.demand(agrees, "a compression type that agrees with its feature bit", f"type {kind}")
    return _COMPRESSIONS[kind], length


def _extensions(view: _View, at: int, cluster: int) -> None:
    """Walk the header extensions, which end with type 0 or with the first cluster."""
    while at + 8 <= min(cluster, view.size):
        kind, length = struct.unpack(">II", view.read(at, 8, "a header extension"))
        if kind == 0:
            return
        name = _EXTENSIONS.get(kind)
        view.demand(name is None, f"no {name}", f"a header extension for {name}")
        at += 8 + (length + 7) // 8 * 8
        view.demand(at <= cluster, "header extensions inside the first cluster", f"one that ends at byte {at}")


def _tables(view: _View, cluster: int, virtual: int, l1_at: int, l1: int, refs_at: int, refs: int) -> None:
    """The L1 table must cover the disk and, like the refcount table and every L2 table, lie inside the file."""
    covered = cluster * (cluster // 8)
    needed = -(-virtual // covered)
    fits = needed <= l1 <= _L1_LIMIT // 8
    view.demand(fits, f"an L1 table of {needed} to {_L1_LIMIT // 8} entries", f"{l1}")
    for what, at in (("L1", l1_at), ("refcount", refs_at)):
        view.demand(at > 0 and at % cluster == 0, f"the {what} table at a cluster of its own", f"byte {at}")
    view.demand(0 < refs <= _L1_LIMIT // cluster + 1, "a refcount table of sane size", f"{refs} clusters")
    view.inside(refs_at, refs * cluster, "the refcount table")
    for (entry,) in struct.iter_unpack(">Q", view.read(l1_at, l1 * 8, "the L1 table")):
        l2 = entry & _OFFSET_MASK
        view.demand(l2 % cluster == 0, "L2 tables at clusters of their own", f"byte {l2}")
        if l2:
            view.inside(l2, cluster, "every L2 table")
