"""Tar archives of strangers, read one member at a time and never unpacked to a folder.

Python's ``tarfile`` parses single headers here; the walk is kmi's own, because ``tarfile`` reads an extended header of
any size into memory and follows sizes below zero. Shapes: POSIX pax (IEEE Std 1003.1) and GNU tar's long names.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn, Protocol

from kmi.errors import VerificationError

_BLOCK = 512
_EXTENSION_LIMIT = 1 << 20
"""Bytes of one extended header."""
_MEMBER_LIMIT = 1_000_000
_SKIP = 1 << 20
_KINDS = {tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.CONTTYPE: "file", tarfile.DIRTYPE: "directory",
          tarfile.LNKTYPE: "hard link", tarfile.SYMTYPE: "symbolic link", tarfile.CHRTYPE: "device",
          tarfile.BLKTYPE: "device", tarfile.FIFOTYPE: "fifo", tarfile.GNUTYPE_SPARSE: "sparse file"}  # fmt: skip
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


_TOLD = {"path", "size", "uid", "gid"}
_SPARSE = "GNU.sparse."


class Stream(Protocol):
    """What is read: a file, or an unpacked one, which cannot seek."""

    def read(self, size: int, /) -> bytes | None: ...
    def seekable(self) -> bool: ...
    def seek(self, offset: int, whence: int, /) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member. ``kind`` is file, directory, hard link, symbolic link, device, fifo, sparse file or the type's
    letter; ``offset`` is where its ``size`` bytes begin in the stream."""

    name: str
    kind: str
    size: int
    mode: int
    uid: int
    gid: int
    offset: int

    @property
    def path(self) -> str:
        """The name without a leading ``./`` and a trailing slash."""
        return self.name.removeprefix("./").rstrip("/")

    @property
    def climbs(self) -> bool:
        """Whether unpacking it would leave the folder."""
        return self.name.startswith("/") or ".." in self.name.split("/")


class Archive:
    """An uncompressed tar ``stream``. Iterate over the members, and ``read`` the current one's content.

    VerificationError for what is no tar, is cut, or has headers out of bounds; ``where`` names it in messages. What
    follows the end mark is not looked at.
    """

    def __init__(self, stream: Stream, *, where: object) -> None:
        self._stream = stream
        self._where = where
        self._at = 0
        self._rest = 0
        self._global: dict[str, str] = {}

    def __iter__(self) -> Iterator[Member]:
        told = dict(self._global)
        count = 0
        while (header := self._header()) is not None:
            count += 1
            if count > _MEMBER_LIMIT:
                self._refuse(f"at most {_MEMBER_LIMIT} members", "more")
            if header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                told |= self._records(self._extension(header))
            elif header.type == tarfile.XGLTYPE:
                self._global |= self._records(self._extension(header))
                told = self._global | told
            elif header.type in _LONG:
                text = _text(self._extension(header).rstrip(b"\0"))
                told |= {"path": text} if header.type == tarfile.GNUTYPE_LONGNAME else {}
            else:
                member = self._member(header, told)
                self._rest = member.size
                yield member
                self._skip(self._rest)
                self._rest = 0
                self._skip(-self._at % _BLOCK)
                told = dict(self._global)
        if told != self._global:
            self._refuse("a member behind an extended header", "the end")

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes of the current member; none only at its end."""
        data = self._take(min(size, self._rest))
        self._rest -= len(data)
        return data

    def _member(self, header: tarfile.TarInfo, told: dict[str, str]) -> Member:
        kind = _KINDS.get(header.type, f"type {header.type!r}")
        if _SPARSE in told:
            kind = "sparse file"
        size = self._number(told["size"]) if "size" in told else header.size
        if size < 0:
            self._refuse("a size of 0 or more", f"{size}")
        if kind not in ("file", "sparse file") and header.type in _KINDS:
            size = 0  # what a link or a folder says of its size is no content
        return Member(
            name=told.get("path", header.name),
            kind=kind,
            size=size,
            mode=header.mode,
            uid=self._number(told["uid"]) if "uid" in told else header.uid,
            gid=self._number(told["gid"]) if "gid" in told else header.gid,
            offset=self._at,
        )

    def _header(self) -> tarfile.TarInfo | None:
        """The next header; None at the end: a block of zeros, or the end of the stream between two members."""
        block = self._take(_BLOCK, whole=self._at == 0)
        if not block or not any(block):
            return None
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError) as error:
            self._refuse("a tar header", str(error))
        more = header.type == tarfile.GNUTYPE_SPARSE and block[482]
        while more:  # GNU tar manual, "Standard Format": struct sparse_header, isextended
            more = self._take(_BLOCK)[504]
        return header

    def _extension(self, header: tarfile.TarInfo) -> bytes:
        if not 0 <= header.size <= _EXTENSION_LIMIT:
            self._refuse(f"an extended header of at most {_EXTENSION_LIMIT} bytes", f"{header.size}")
        data = self._take(header.size, whole=True)
        self._skip(-header.size % _BLOCK)
        return data

    def _records(self, data: bytes) -> dict[str, str]:
        """``length key=value`` and a line feed, again and again ("pax Extended Header"); those that matter here."""
        found: dict[str, str] = {}
        while data.rstrip(b"\0"):
            digits, blank, _ = data[:16].partition(b" ")
            length = int(digits) if blank and digits.isdigit() else 0
            key, equals, value = data[len(digits) + 1 : length - 1].partition(b"=")
            if not equals or data[length - 1 : length] != b"\n":
                self._refuse("records of an extended header", repr(data[:40]))
            name = _SPARSE if _text(key).startswith(_SPARSE) else _text(key)
            if name in _TOLD or name == _SPARSE:
                found[name] = _text(value)
            data = data[length:]
        return found

    def _number(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            self._refuse("a number in an extended header", repr(text[:40]))
        return int(text)

    def _take(self, size: int, *, whole: bool = True) -> bytes:
        """The next ``size`` bytes; fewer are a fault, unless there is none at all and ``whole`` is not asked for."""
        parts, left = [], size
        while left and (data := self._stream.read(left)):
            parts.append(data)
            left -= len(data)
        self._at += size - left
        if left and (whole or left < size):
            self._refuse(f"{size} bytes", f"the end after {size - left}")
        return b"".join(parts)

    def _skip(self, size: int) -> None:
        """Go on, by seeking where the stream can; the last byte is read, so that a cut is noticed."""
        if size > _SKIP and self._stream.seekable():
            self._stream.seek(size - 1, 1)
            self._at += size - 1
            size = 1
        while size:
            size -= len(self._take(min(size, _SKIP)))

    def _refuse(self, expected: str, got: str) -> NoReturn:
        raise VerificationError("not a sound tar archive", expected=expected, got=got, where=self._where)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
