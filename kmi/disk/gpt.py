"""GUID partition tables (UEFI specification 2.10, section 5.3), as far as a disk that changes its size needs them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

SECTOR = 512
_MAGIC = b"EFI PART"
_HEADER = struct.Struct("<8sIIII QQQQ 16s QIII")
"""Signature, revision, header size, CRC, reserved; this LBA, other LBA, first and last usable LBA; disk GUID; LBA,
number and size of the entries, and their CRC (table 5.5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """Bytes to write at an offset, both in bytes."""

    offset: int
    data: bytes


def extended(read: Callable[[int, int], bytes], size: int) -> tuple[Patch, ...]:
    """The patches that fit a disk's GPT to ``size`` bytes: backup at the new end, protective MBR and header renewed.

    ``read(offset, length)`` reads the disk. Empty if the disk has no GPT. ValueError if its header is damaged.
    """
    header = read(SECTOR, SECTOR)
    if header[:8] != _MAGIC:
        return ()
    fields = list(_HEADER.unpack_from(header))
    length, crc = fields[2], fields[3]
    if not _HEADER.size <= length <= SECTOR or _crc(header[:length]) != crc:
        raise ValueError("the primary GPT header's checksum is wrong")
    entries_lba, count, width = fields[10], fields[11], fields[12]
    if count * width > 1 << 20:
        raise ValueError("the GPT has too many entries")
    entries = read(entries_lba * SECTOR, count * width)
    sectors = -(-len(entries) // SECTOR)
    last = size // SECTOR - 1
    fields[6], fields[8] = last, last - sectors - 1
    primary = _seal(fields, length)
    fields[5], fields[6], fields[10] = last, 1, last - sectors
    backup = _seal(fields, length)
    return (
        Patch(offset=0, data=_protective(read(0, SECTOR), last)),
        Patch(offset=SECTOR, data=primary),
        Patch(offset=(last - sectors) * SECTOR, data=entries.ljust(sectors * SECTOR, b"\0")),
        Patch(offset=last * SECTOR, data=backup),
    )


def _seal(fields: list[object], length: int) -> bytes:
    blank = bytearray(_HEADER.pack(*fields).ljust(length, b"\0"))
    blank[16:20] = struct.pack("<I", _crc(bytes(blank)))
    return bytes(blank).ljust(SECTOR, b"\0")


def _crc(header: bytes) -> int:
    """Of the header with its own CRC field zeroed."""
    return zlib.crc32(header[:16] + b"\0\0\0\0" + header[20:])


def _protective(mbr: bytes, last: int) -> bytes:
    """The protective MBR's one record covers the disk, or as much as its fields can say (table 5.4)."""
    record = bytearray(mbr)
    if record[450] == 0xEE:
        record[451:454] = _chs(last)
        record[458:462] = struct.pack("<I", min(last, 0xFFFFFFFF))
    return bytes(record)


def _chs(block: int) -> bytes:
    """Cylinder, head and sector with the usual 255 heads and 63 sectors; all ones where ten bits of cylinder end."""
    cylinder, head, sector = block // (255 * 63), block // 63 % 255, block % 63 + 1
    if cylinder > 1023:
        return b"\xff\xff\xff"
    return bytes((head, sector | cylinder >> 8 << 6, cylinder & 0xFF))
