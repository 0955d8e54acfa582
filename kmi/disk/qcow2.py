"""The header of a qcow2: offsets, feature bits and extensions are QEMU's, docs/interop/qcow2.txt."""

from __future__ import annotations

import struct

from kmi.disk import clusters
from kmi.disk.view import VIRTUAL_LIMIT, Header, View

MAGIC = b"QFI\xfb"

_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")
_FORBIDDEN_BITS = {0: "marked dirty", 1: "marked corrupt", 2: "external data file", 4: "extended L2 entries"}
_COMPRESSION_BIT = 1 << 3
_LAZY_REFCOUNTS = 1 << 0
_COMPRESSIONS = {0: "zlib", 1: "zstd"}
_EXTENSIONS = {
    0xE2792ACA: "backing file",
    0x44415441: "external data file",
    0x0537BE77: "encryption",
    0x23852875: "bitmaps",
}
_FEATURE_NAMES = 0x6803F857


def read(view: View) -> Header:
    """The header, if the disk is one file of its own. VerificationError for every other qcow2."""
    fields = _V2.unpack(view.read(0, _V2.size, "the header"))
    magic, version, backing, backing_size, bits, virtual, crypt, l1, l1_at, refs_at, refs, snapshots, listed = fields
    view.demand(magic == MAGIC, "a qcow2 disk", f"a file that begins with {magic!r}")
    view.demand(version in (2, 3), "qcow2 version 2 or 3", f"version {version}")
    view.demand(backing == 0 and backing_size == 0, "no backing file", "a backing file")
    view.demand(crypt == 0, "no encryption", f"encryption method {crypt}")
    view.demand(snapshots == 0 and listed == 0, "no internal snapshots", f"{snapshots} snapshots at byte {listed}")
    view.demand(9 <= bits <= 21, "clusters of 512 bytes to 2 MiB", f"cluster_bits {bits}")
    view.demand(0 < virtual <= VIRTUAL_LIMIT, f"a virtual size of 1 to {VIRTUAL_LIMIT} bytes", f"{virtual}")
    cluster = 1 << bits
    compression, length = _features(view, cluster) if version == 3 else ("zlib", _V2.size)
    _extensions(view, length, cluster)
    clusters.check(
        view,
        clusters.Tables(version=version, bits=bits, virtual=virtual, l1=l1, l1_at=l1_at, refs=refs, refs_at=refs_at),
    )
    return Header(format="qcow2", virtual_size=virtual, cluster_size=cluster, compression=compression)


def _features(view: View, cluster: int) -> tuple[str, int]:
    """Compression type and header length of a version 3 header."""
    incompatible, compatible, autoclear, order, length = _V3.unpack(view.read(_V2.size, _V3.size, "the v3 header"))
    for bit, name in _FORBIDDEN_BITS.items():
        view.demand(not incompatible >> bit & 1, f"no {name}", f"incompatible feature bit {bit}: {name}")
    unknown = incompatible & ~_COMPRESSION_BIT
    view.demand(unknown == 0, "known features only", f"incompatible feature bits {unknown:#x}")
    unknown = compatible & ~_LAZY_REFCOUNTS
    view.demand(unknown == 0, "known features only", f"compatible feature bits {unknown:#x}")
    view.demand(autoclear == 0, "no bitmaps and no other autoclear features", f"autoclear feature bits {autoclear:#x}")
    view.demand(order <= 6, "a refcount order of at most 6", f"{order}")
    sane = 104 <= length <= cluster and length % 8 == 0
    view.demand(sane, "a header of 104 bytes to one cluster, in steps of 8", f"{length} bytes")
    kind = view.read(104, 1, "the compression type")[0] if length > 104 else 0
    view.demand(kind in _COMPRESSIONS, "compression zlib or zstd", f"compression type {kind}")
    agrees = bool(incompatible & _COMPRESSION_BIT) == (kind != 0)
    view.demand(agrees, "a compression type that agrees with its feature bit", f"type {kind}")
    return _COMPRESSIONS[kind], length


def _extensions(view: View, at: int, cluster: int) -> None:
    """Walk the header extensions, which end with type 0 or with the first cluster."""
    while at + 8 <= min(cluster, view.size):
        kind, length = struct.unpack(">II", view.read(at, 8, "a header extension"))
        if kind == 0:
            return
        name = _EXTENSIONS.get(kind)
        view.demand(name is None, f"no {name}", f"a header extension for {name}")
        view.demand(kind == _FEATURE_NAMES, "known header extensions only", f"one of type {kind:#x}")
        at += 8 + (length + 7) // 8 * 8
        view.demand(at <= cluster, "header extensions inside the first cluster", f"one that ends at byte {at}")
