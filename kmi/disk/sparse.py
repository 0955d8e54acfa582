"""Writing a disk file with holes where it is zero, and hashing it in the same pass."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path

from kmi.errors import HostError
from kmi.model.digest import Digest

_BLOCK = 1 << 16
_ZEROS = bytes(_BLOCK)


def write(
    pieces: Iterable[bytes],
    target: Path,
    *,
    algorithms: Iterable[str] = (),
    on_write: Callable[[int], None] | None = None,
) -> dict[str, Digest]:
    """Fill ``target`` with ``pieces`` and return the digests of it, holes included. ``on_write`` gets the size so far.

    HostError if the disk is full. Whatever stops it, no half of a file stays.
    """
    hashers = {name: hashlib.new(name) for name in algorithms}
    size = 0
    try:
        with target.open("wb", buffering=0) as file:
            for piece in pieces:
                for hasher in hashers.values():
                    hasher.update(piece)
                _put(piece, size, file)
                size += len(piece)
                if on_write:
                    on_write(size)
            file.truncate(size)
    except BaseException as error:
        target.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise HostError(
                "the disk is full",
                got=f"{size} bytes unpacked",
                where=target.parent,
                hint="make room, or name another cache folder with --cache",
            ) from error
        raise
    return {name: Digest(algorithm=name, hex=hasher.hexdigest()) for name, hasher in hashers.items()}


def _put(piece: bytes, at: int, file: FileIO) -> None:
    """Write those blocks of ``piece`` that are not zero."""
    for start in range(0, len(piece), _BLOCK):
        block = piece[start : start + _BLOCK]
        if block == _ZEROS[: len(block)]:
            continue
        file.seek(at + start)
        while block:
            block = block[file.write(block) :]
