"""The tables of a qcow2 (QEMU docs/interop/qcow2.txt, "Host cluster management" and "Guest cluster mapping").

Every table lies inside the file, at clusters of its own, and no data lies on a table. The counts in the refcount
blocks are not compared: kmi only ever reads a foreign disk.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass

from kmi.disk.view import View

_L1_LIMIT = 32 << 20
_REFCOUNT_LIMIT = 8 << 20
"""Bytes: QCOW_MAX_L1_SIZE and QCOW_MAX_REFTABLE_SIZE in QEMU's block/qcow2.h."""
_OFFSET = 0x00FFFFFFFFFFFE00
_COPIED, _COMPRESSED, _ZERO = 1 << 63, 1 << 62, 1 << 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What the header says: ``l1`` entries at byte ``l1_at``, ``refs`` clusters of refcount table at ``refs_at``."""

    version: int
    bits: int
    virtual: int
    l1: int
    l1_at: int
    refs: int
    refs_at: int

    @property
    def cluster(self) -> int:
        return 1 << self.bits

    @property
    def needed(self) -> int:
        """L1 entries that the virtual size takes."""
        return -(-self.virtual // (self.cluster * (self.cluster // 8)))


def check(view: View, tables: Tables) -> None:
    """VerificationError for a table or a cluster that is not where it may be."""
    needed, most = tables.needed, _L1_LIMIT // 8
    view.demand(needed <= tables.l1 <= most, f"an L1 table of {needed} to {most} entries", f"{tables.l1}")
    most = _REFCOUNT_LIMIT // tables.cluster
    view.demand(0 < tables.refs <= most, f"a refcount table of sane size, 1 to {most} clusters", f"{tables.refs}")
    taken = _Taken(view, tables.cluster)
    taken.take(0, tables.cluster if view.size >= tables.cluster else view.size, "the header")
    taken.take(tables.l1_at, tables.l1 * 8, "the L1 table")
    taken.take(tables.refs_at, tables.refs * tables.cluster, "the refcount table")
    for block in _words(view, tables.refs_at, tables.refs * tables.cluster):
        if block:
            taken.take(block, tables.cluster, "a refcount block")
    second = []
    for number, entry in enumerate(_words(view, tables.l1_at, tables.l1 * 8)):
        if entry & ~(_COPIED | _OFFSET) or (entry and number >= needed):
            view.refuse("an L1 table without reserved bits and foreign entries", f"entry {number} is {entry:#x}")
        if entry & _OFFSET:
            taken.take(entry & _OFFSET, tables.cluster, "an L2 table")
            second.append(entry & _OFFSET)
    for at in second:
        _mapping(view, at, tables, taken)


class _Taken:
    """Which clusters of the file hold a table, one byte each."""

    def __init__(self, view: View, cluster: int) -> None:
        self._view = view
        self._cluster = cluster
        self.marks = bytearray(-(-view.size // cluster))

    def take(self, at: int, length: int, what: str) -> None:
        view = self._view
        view.demand(at % self._cluster == 0, f"{what} at clusters of its own", f"byte {at}")
        view.inside(at, length, what)
        first, end = at // self._cluster, -(-(at + length) // self._cluster)
        view.demand(not any(self.marks[first:end]), f"{what} at clusters of its own", f"byte {at}, another table's")
        self.marks[first:end] = b"\1" * (end - first)


def _words(view: View, at: int, length: int) -> array[int]:
    """Big-endian words of 64 bits."""
    words = array("Q", view.read(at, length - length % 8, "a table"))
    if sys.byteorder == "little":
        words.byteswap()
    return words


def _mapping(view: View, at: int, tables: Tables, taken: _Taken) -> None:
    """Every entry of the L2 table at byte ``at``. A file may end inside its last cluster, as it does in QEMU."""
    cluster, size, marks = tables.cluster, view.size, taken.marks
    allowed = _COPIED | _OFFSET | (_ZERO if tables.version == 3 else 0)
    for entry in _words(view, at, cluster):
        if not entry:
            continue
        if entry & _COMPRESSED:
            start, end = _extent(entry, tables.bits)
            good = not entry & _COPIED and end <= size + -size % 512 and start < size
            good = good and not (marks[start // cluster] or marks[(min(end, size) - 1) // cluster])
        else:
            start, end = entry & _OFFSET, cluster
            good = not entry & ~allowed and start % cluster == 0 and start < size
            good = good and not (start and marks[start // cluster])
        if not good:
            view.refuse(f"every cluster inside the file's {size} bytes and on no table", f"the L2 entry {entry:#x}")


def _extent(entry: int, bits: int) -> tuple[int, int]:
    """First byte and end of a compressed cluster ("Compressed Clusters Descriptor")."""
    width = 62 - (bits - 8)
    start = entry & ((1 << width) - 1)
    sectors = (entry & (_COMPRESSED - 1)) >> width
    return start, (start // 512 + sectors + 1) * 512
