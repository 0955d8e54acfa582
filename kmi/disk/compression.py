"""Reading what strangers compressed: bounded in bytes, in ratio and in memory, and whole or not at all.

What follows the end of a stream: gzip and bzip2 may go on with another member, zstd with another frame, xz with
padding and another stream; bytes behind a gzip member that begin none are left out, up to 1 MiB, as gzip(1) does
(firmware images carry their metadata there); any other byte is refused.
"""

from __future__ import annotations

import bz2
import lzma
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from typing import Any, BinaryIO, NoReturn, Protocol

from kmi.errors import VerificationError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

KINDS = ("none", "gz", "xz", "bz2", "zst")
LIMIT = 64 << 30
"""No publisher's disk image is larger; in bytes."""

_MAGIC = {b"\x1f\x8b": "gz", b"\xfd7zXZ\0": "xz", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zst"}
_XZ_MEMORY = 256 << 20
"""Bytes; xz -9 takes 65 MiB to unpack (xz(1))."""
_ZSTD_WINDOW = 27
"""log2 of bytes: zstd's own default limit, which is what ``--ultra -22`` without ``--long`` stays in (zstd(1))."""
_TRAILING = 1 << 20
_CHUNK = 1 << 18
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """What is a bomb: more than ``size`` bytes, or more than ``free`` bytes and ``ratio`` for each compressed one."""

    size: int = LIMIT
    free: int = 1 << 30
    ratio: int = 1000


class _Engine(Protocol):
    """What bz2, lzma and zstd share."""

    eof: bool
    needs_input: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's object with the interface of the others; the checksum at the end is compared (RFC 1952, 2.3.1)."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


_ENGINES: dict[str, Callable[[], Any]] = {
    "gz": _Gzip,
    "xz": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
    "bz2": bz2.BZ2Decompressor,
    "zst": lambda: zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW}),
}
_ERRORS = (zlib.error, lzma.LZMAError, zstd.ZstdError, OSError, EOFError, ValueError, MemoryError)


def told(start: bytes) -> str:
    """The compression that a file with these first bytes has; ``none`` for any other."""
    return next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "none")


def unpacked(source: BinaryIO, kind: str, *, where: object, cap: Cap | None = None) -> BufferedReader:
    """The content of ``source``, which is compressed as ``kind`` says, as a stream. Every read raises
    VerificationError for what is damaged, cut, followed by anything else, or a bomb. ``where`` names it in messages."""
    return BufferedReader(_Unpacked(source, kind, where, cap or Cap()), _BUFFER)


class _Unpacked(RawIOBase):
    """Unbuffered: its readers must not ask for small pieces, because zlib copies what it has not consumed yet."""

    def __init__(self, source: BinaryIO, kind: str, where: object, cap: Cap) -> None:
        self._source = source
        self._kind = kind
        self._where = where
        self._cap = cap
        self._engine: _Engine | None = None
        self._left = b""
        self._ended = False
        self._consumed = 0
        self._produced = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        """Up to ``size`` bytes; none only at the end."""
        data = b""
        while not data and not self._ended and size:
            data = self._plain(size) if self._kind == "none" else self._step(size)
        self._produced += len(data)
        fair = self._cap.size if self._kind == "none" else max(self._cap.free, self._cap.ratio * self._consumed)
        bound = min(self._cap.size, fair)
        if self._produced > bound:
            self._refuse("it unpacks to too much", f"at most {bound} bytes of {self._consumed}", "more")
        return data

    def _plain(self, size: int) -> bytes:
        data = self._fill(size)
        self._ended = not data
        return data

    def _step(self, size: int) -> bytes:
        engine = self._engine
        if engine is None or engine.eof:
            if not self._another(engine is None):
                self._ended = True
                return b""
            engine = self._engine = _ENGINES[self._kind]()
        if not self._left and engine.needs_input:
            self._left = self._fill(_CHUNK)
            if not self._left:
                self._refuse("it is cut", "the end of the stream", f"the end of the file after {self._consumed} bytes")
        given, self._left = self._left, b""
        try:
            data = engine.decompress(given, size)
        except _ERRORS as error:
            self._refuse("it is damaged", f"{self._kind} data", str(error) or type(error).__name__)
        if engine.eof:
            self._left = engine.unused_data
        return data

    def _another(self, first: bool) -> bool:
        """Whether one more stream follows. An empty file has none, which is a fault."""
        self._left = self._left or self._fill(_CHUNK)
        if first:
            if not self._left:
                self._refuse("it is empty", f"{self._kind} data", "0 bytes")
            return True
        if self._kind == "xz":
            return self._past_padding()
        if self._kind == "gz":
            self._left += self._fill(1) if len(self._left) == 1 else b""
            if not self._left.startswith(b"\x1f\x8b"):
                self._leave_out()
                return False
        return bool(self._left)

    def _past_padding(self) -> bool:
        """Skip stream padding: zero bytes, four or a multiple (the .xz file format, 2.2)."""
        skipped = 0
        while self._left:
            rest = self._left.lstrip(b"\0")
            skipped += len(self._left) - len(rest)
            self._left = rest or self._fill(_CHUNK)
            if rest:
                break
        if skipped % 4:
            self._refuse("it is damaged", "padding in steps of four bytes", f"{skipped} bytes")
        return bool(self._left)

    def _leave_out(self) -> None:
        trailing = len(self._left)
        while (data := self._fill(_CHUNK)) and trailing <= _TRAILING:
            trailing += len(data)
        if trailing > _TRAILING:
            self._refuse("it has a tail", f"at most {_TRAILING} bytes behind the stream", "more")
        self._left = b""

    def _fill(self, size: int) -> bytes:
        data = self._source.read(size)
        self._consumed += len(data)
        return data

    def _refuse(self, why: str, expected: str, got: str) -> NoReturn:
        raise VerificationError(f"cannot unpack: {why}", expected=expected, got=got, where=self._where)
