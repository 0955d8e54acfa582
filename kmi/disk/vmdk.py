"""The header, descriptor and tables of a VMDK that is one file: monolithicSparse or streamOptimized.

Offsets are those of VMware's "Virtual Disk Format 5.0", hosted sparse extents; what a program does with them is QEMU's
block/vmdk.c. QEMU opens other files for a header of capacity 0 (the descriptor's extents) and for a
``parentFileNameHint`` anywhere in the 20 sectors from byte 512, wherever the header puts the descriptor.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from dataclasses import dataclass

from kmi.disk.view import VIRTUAL_LIMIT, Header, View

MAGIC = b"KDMV"
SECTOR = 512

_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")
_MARKER = struct.Struct("<QII")
_AT_END = (1 << 64) - 1
_REDUNDANT, _ZEROED, _PACKED, _MARKERS = 1 << 1, 1 << 2, 1 << 16, 1 << 17
_KNOWN = 1 | _REDUNDANT | _ZEROED | _PACKED | _MARKERS
_ENTRIES = 512
_QEMU_DESCRIPTOR = 20
_DESCRIPTOR_LIMIT = 128
"""Sectors."""
_EXTENT = re.compile(r'(RW|RDONLY) [0-9]+ SPARSE "[^"/\\]+"')
_SETTING = re.compile(r'(\w[\w.]*) ?= ?"?([^"]*)"?')
_PLAIN = re.compile(r"version|CID|parentCID|createType|encoding|isNativeSnapshot|ddb\.[\w.]+|ddb")
_TYPES = ("monolithicSparse", "streamOptimized")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sparse:
    """A hosted sparse header; everything but flags in sectors. ``gd`` and ``rgd`` are the grain directories."""

    flags: int
    capacity: int
    grain: int
    descriptor: int
    descriptor_size: int
    rgd: int
    gd: int
    overhead: int

    @property
    def tables(self) -> int:
        return -(-self.capacity // (self.grain * _ENTRIES))


def read(view: View) -> Header:
    """The header, if the disk is one file of its own. VerificationError for every other vmdk."""
    view.demand(view.size % SECTOR == 0, "whole sectors of 512 bytes", f"{view.size} bytes")
    head = _header(view, 0)
    _descriptor(view, head)
    if head.gd == _AT_END:
        foot = _footer(view)
        same = (foot.capacity, foot.grain, foot.flags) == (head.capacity, head.grain, head.flags)
        view.demand(same and foot.gd != _AT_END, "a footer that agrees with the header", f"{foot}")
        head = foot
    _tables(view, head)
    return Header(
        format="vmdk",
        virtual_size=head.capacity * SECTOR,
        cluster_size=head.grain * SECTOR,
        compression="zlib" if head.flags & _PACKED else "",
    )


def _header(view: View, at: int) -> _Sparse:
    fields = _HEADER.unpack(view.read(at, _HEADER.size, "the header"))
    magic, version, flags, capacity, grain, text, text_size, entries, rgd, gd, overhead, unclean, ends, packed = fields
    view.demand(magic == MAGIC, "a vmdk disk", f"a file that begins with {magic!r}")
    view.demand(version in (1, 2, 3), "vmdk version 1 to 3", f"version {version}")
    view.demand(not flags & ~_KNOWN, "known features only", f"flags {flags:#x}")
    view.demand(not flags & 1 or ends == b"\n \r\n", "line ends as they were written", repr(ends))
    view.demand(unclean in (0, 1), "a vmdk disk", f"{unclean} for unclean shutdown")
    view.demand(unclean == 0, "no marked dirty", "an unclean shutdown")
    most = VIRTUAL_LIMIT // SECTOR
    view.demand(0 < capacity <= most, f"a capacity of 1 to {most} sectors", f"{capacity}")
    sane = 8 <= grain <= 4096 and grain & (grain - 1) == 0
    view.demand(sane, "grains of 4 KiB to 2 MiB", f"{grain} sectors")
    view.demand(entries == _ENTRIES, f"{_ENTRIES} entries in a grain table", f"{entries}")
    agrees = (packed == 1) == bool(flags & _PACKED) == bool(flags & _MARKERS) and packed in (0, 1)
    view.demand(agrees, "a compression that agrees with the flags", f"compression {packed}, flags {flags:#x}")
    view.inside(0, overhead * SECTOR, "the overhead")
    return _Sparse(
        flags=flags,
        capacity=capacity,
        grain=grain,
        descriptor=text,
        descriptor_size=text_size,
        rgd=rgd,
        gd=gd,
        overhead=overhead,
    )


def _footer(view: View) -> _Sparse:
    """The header that counts where the grain directory is at the end: the last but one sector."""
    at = view.size - 3 * SECTOR
    view.demand(at > 0, "a footer", f"{view.size} bytes")
    for where, expected in ((at, 3), (view.size - SECTOR, 0)):
        _, size, kind = _MARKER.unpack(view.read(where, _MARKER.size, "the footer"))
        view.demand((size, kind) == (0, expected), "a footer and its end", f"marker {kind} of size {size}")
    return _header(view, at + SECTOR)


def _descriptor(view: View, head: _Sparse) -> None:
    size = head.descriptor_size
    placed = head.descriptor == 1 and 0 < size <= _DESCRIPTOR_LIMIT
    view.demand(placed, f"a descriptor of 1 to {_DESCRIPTOR_LIMIT} sectors at sector 1", f"{size} at {head.descriptor}")
    data = view.read(SECTOR, min(max(size, _QEMU_DESCRIPTOR) * SECTOR, view.size - SECTOR), "the descriptor")
    view.demand(b"parentfilename" not in data.lower(), "no parent", "the name of a parent's file")
    text = data[: size * SECTOR].partition(b"\0")[0].decode("latin-1")
    settings: dict[str, str] = {}
    extents = 0
    for line in map(str.strip, text.split("\n")):
        if not line or line.startswith("#"):
            continue
        if line.split()[0] in ("RW", "RDONLY", "NOACCESS"):
            view.demand(_EXTENT.fullmatch(line) is not None, "one sparse extent in this file", repr(line))
            extents += 1
            continue
        match = _SETTING.fullmatch(line)
        known = match is not None and _PLAIN.fullmatch(match[1]) is not None and match[1] not in settings
        view.demand(known, "a descriptor of known lines, each once", repr(line[:120]))
        if match:
            settings[match[1]] = match[2]
    view.demand(extents == 1, "one sparse extent in this file", f"{extents}")
    parent, kind = settings.get("parentCID", "").lower(), settings.get("createType", "")
    view.demand(parent == "ffffffff", "no parent (parentCID=ffffffff)", f"parentCID={parent}")
    view.demand(kind in _TYPES, " or ".join(_TYPES), f"createType={kind}")


def _words(view: View, at: int, count: int, what: str) -> array[int]:
    """Little-endian words of 32 bits."""
    words = array("I", view.read(at, count * 4, what))
    if sys.byteorder == "big":
        words.byteswap()
    return words


def _tables(view: View, head: _Sparse) -> None:
    """The grain directories, every grain table, and every grain inside the file and behind the overhead."""
    view.demand(head.gd > 0, "a grain directory", "none")
    if head.flags & _REDUNDANT:
        view.inside(head.rgd * SECTOR, head.tables * 4, "the redundant grain directory")
    seen = set()
    for table in _words(view, head.gd * SECTOR, head.tables, "the grain directory"):
        if table == 0:
            continue
        view.demand(table not in seen, "grain tables of their own", f"sector {table} twice")
        seen.add(table)
        for grain in _words(view, table * SECTOR, _ENTRIES, "a grain table"):
            if grain > 1 or (grain == 1 and not head.flags & _ZEROED):
                _grain(view, head, grain)


def _grain(view: View, head: _Sparse, sector: int) -> None:
    """A grain that is packed has a marker of its block's number and its size before it."""
    at = sector * SECTOR
    if sector < head.overhead or at >= view.size:
        view.refuse(f"every grain inside the file's {view.size} bytes, behind the overhead", f"sector {sector}")
    if head.flags & _PACKED:
        size = int.from_bytes(view.read(at + 8, 4, "a grain's marker"), "little")
        if not 0 < size <= 2 * head.grain * SECTOR or at + 12 + size > view.size:
            view.refuse(f"every grain inside the file's {view.size} bytes", f"{size} bytes at sector {sector}")
