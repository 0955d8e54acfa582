"""The look at a foreign disk before any program opens it: a pure reader of its header and its tables.

qemu-img given a qcow2 with a backing file copies that host file into its output, and a raw file that begins like a
qcow2 is taken for one (CVE-2010-3851, CVE-2024-32498). A vmdk may name other files in three ways.
"""

from __future__ import annotations

from pathlib import Path

from kmi.disk import qcow2, vmdk
from kmi.disk.view import VIRTUAL_LIMIT, Header, View, refusal

__all__ = ["FORMATS", "VIRTUAL_LIMIT", "Header", "check"]

_FOREIGN = {
    qcow2.MAGIC: "qcow2",
    vmdk.MAGIC: "vmdk",
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


def check(path: Path, *, declared: str, offset: int = 0, size: int | None = None) -> Header:
    """Read the header of the disk that fills ``path``, or ``size`` bytes of it from ``offset`` (a disk in a tar layer).

    ``declared`` is raw, qcow2 or vmdk: the format is never guessed. VerificationError for a disk that is not of that
    format, refers to any other file, is encrypted, has snapshots or unknown features, is cut, has a table or a
    cluster outside the file or on top of another table, or is absurdly large. Whether the disk is larger than the
    image is to be is the caller's question: ``virtual_size`` of the result.
    """
    available = path.stat().st_size - offset
    size = available if size is None else size
    if size > available or size < 512:
        raise refusal(path, "a whole disk", f"{min(size, available)} bytes")
    reader = FORMATS.get(declared)
    if reader is None:
        raise refusal(path, f"format {' or '.join(FORMATS)}", declared)
    with path.open("rb") as file:
        return reader(View(file, path, offset, size))


def _raw(view: View) -> Header:
    start = view.read(0, 64, "the start")
    for magic, name in _FOREIGN.items():
        view.demand(not start.startswith(magic), "a raw disk", f"the signature of {name}")
    view.demand(view.size % 512 == 0, "whole sectors of 512 bytes", f"{view.size} bytes")
    view.demand(view.size <= VIRTUAL_LIMIT, f"at most {VIRTUAL_LIMIT} bytes", f"{view.size}")
    return Header(format="raw", virtual_size=view.size)


FORMATS = {"raw": _raw, "qcow2": qcow2.read, "vmdk": vmdk.read}
