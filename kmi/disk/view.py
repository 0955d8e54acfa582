"""What the readers of disk headers share: a bounded view of the file, the one way to refuse it, and the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from kmi.errors import VerificationError

VIRTUAL_LIMIT = 2 << 40
"""Bytes; a larger virtual size is a bomb, not a root disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the disk says of itself. Sizes in bytes; ``cluster_size`` is a vmdk's grain size, 0 for raw;
    ``compression`` is zlib or zstd, empty for none."""

    format: str
    virtual_size: int
    cluster_size: int = 0
    compression: str = ""


class View:
    """A part of a file, read at offsets that count from the part's start. Nothing outside it is ever read."""

    def __init__(self, file: BinaryIO, path: Path, offset: int, size: int) -> None:
        self._file = file
        self._offset = offset
        self.path = path
        self.size = size

    def read(self, at: int, length: int, what: str) -> bytes:
        self.inside(at, length, what)
        self._file.seek(self._offset + at)
        data = self._file.read(length)
        self.demand(len(data) == length, f"{length} bytes of {what}", f"{len(data)}")
        return data

    def inside(self, at: int, length: int, what: str) -> None:
        self.demand(at + length <= self.size, f"{what} inside the file's {self.size} bytes", f"bytes {at}+{length}")

    def demand(self, holds: bool, expected: str, got: str) -> None:
        if not holds:
            self.refuse(expected, got)

    def refuse(self, expected: str, got: str) -> NoReturn:
        raise refusal(self.path, expected, got)


def refusal(path: Path, expected: str, got: str) -> VerificationError:
    return VerificationError("the disk is refused before any program opens it", expected=expected, got=got, where=path)
