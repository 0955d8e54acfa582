"""A picture of what the guest shows on its display, as PNG."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

from kmi.boot.qmp import Qmp
from kmi.errors import BuildError

LIMIT = 64 << 20
"""Bytes of a picture. The guest chooses the size; 3840 x 2160 pixels have 24 MiB."""

_HEAD = re.compile(rb"P6\n(\d{1,5}) (\d{1,5})\n255\n")  # ppm(5), as QEMU writes it


def screenshot(qmp: Qmp, target: Path) -> None:
    """Have QEMU write the display's contents to ``target``. BuildError if there is no display, its picture
    is larger than ``LIMIT``, or QEMU is gone."""
    try:
        qmp.call("screendump", filename=str(target.absolute()), format="png")
    except BuildError as error:
        if "format" not in str(error.got):
            raise
        _by_way_of_ppm(qmp, target)
    if (size := target.stat().st_size) > LIMIT:
        target.unlink()
        raise BuildError("the picture of the guest's display is too large", expected=f"{LIMIT} bytes", got=size)


def _by_way_of_ppm(qmp: Qmp, target: Path) -> None:
    """For QEMU before 7.1, or built without libpng (qapi/ui.json)."""
    ppm = target.with_name(target.name + ".ppm")
    try:
        qmp.call("screendump", filename=str(ppm.absolute()))
        with ppm.open("rb") as file:
            target.write_bytes(png(file.read(LIMIT + 1)))
    finally:
        ppm.unlink(missing_ok=True)


def png(ppm: bytes) -> bytes:
    """The same picture as PNG (ISO/IEC 15948, 8-bit truecolour, no filter). BuildError if it is none of QEMU's."""
    head = _HEAD.match(ppm)
    width, height = (int(head[1]), int(head[2])) if head else (0, 0)
    row = 3 * width
    if head is None or not row * height or len(ppm) > LIMIT or len(ppm) != head.end() + row * height:
        raise BuildError("QEMU's picture of the display is no PPM", got=f"{len(ppm)} bytes, {ppm[:20]!r}")
    begins = range(head.end(), len(ppm), row)
    rows = b"".join(b"\0" + ppm[begin : begin + row] for begin in begins)
    about = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", about), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
