"""Files that are whole or not there, JSON that says by itself whether it is whole, and digests of contents."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from kmi.model.digest import Digest

SEAL = "seal"
"""The member of a sealed object that holds the SHA-256 of the rest."""

_BLOCK = 64 * 1024
_ZEROS = bytes(_BLOCK)
_MAX_JSON = 64 << 20


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces: the same value gives the same bytes on any machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write_json(path: Path, value: object) -> None:
    """Write pretty JSON so that the file is either the old one or the whole new one."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file by temporary file and rename. What writers of the same file left who were killed goes first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _temporary(path)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:  # its lock says that somebody is at work
            file.write(text)
            file.flush()
            temporary.chmod(0o644)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> tuple[int, Path]:
    """A new file beside ``path``, open and locked. It gets its name only after its lock (open(2), O_TMPFILE), so one
    that has a name and no lock is a dead writer's. Where a file system cannot do that, the name comes first."""
    _sweep(path)
    try:
        handle = os.open(path.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:  # a full disk is told by the second try as well
        return _named_first(path)
    _flock(handle, fcntl.LOCK_EX)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(f"/proc/self/fd/{handle}", temporary.name, dst_dir_fd=folder, follow_symlinks=True)
    except OSError:
        os.close(handle)
        return _named_first(path)
    finally:
        os.close(folder)
    return handle, temporary


def _named_first(path: Path) -> tuple[int, Path]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    _flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle, Path(name)


def _sweep(path: Path) -> None:
    left = re.compile(re.escape(f".{path.name}.") + r"[a-z0-9_]{8}")
    for name in os.listdir(path.parent):  # noqa: PTH208 -- names are enough
        if left.fullmatch(name):
            try:
                handle = os.open(path.parent / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                if _flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    (path.parent / name).unlink(missing_ok=True)
            finally:
                os.close(handle)


def _flock(handle: int, how: int) -> bool:
    """Whether the lock is ours; False also on a file system that has none."""
    try:
        fcntl.flock(handle, how)
    except OSError:
        return False
    return True


def seal(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object with a digest of itself, for ``unseal``. ``value`` holds JSON values only."""
    return {**value, SEAL: _digest_of(value)}


def unseal(path: Path) -> dict[str, Any] | None:
    """A sealed object of a file without its seal; None if there is no such file or a single bit of it differs."""
    try:
        with opened(path) as file:
            value = json.loads(file.read(_MAX_JSON))
        told = value.pop(SEAL)
        return dict(value) if told == _digest_of(value) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EIO, errno.EMFILE, errno.ENFILE):
            raise
        return None


def opened(path: Path) -> BinaryIO:
    """A file for reading. OSError for a symbolic link: nothing in the cache is one."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def hash_file(path: Path, algorithm: str = "sha256") -> Digest:
    with path.open("rb") as file:
        return Digest(algorithm=algorithm, hex=hashlib.file_digest(file, algorithm).hexdigest())


def fingerprint(path: Path) -> str:
    """``blocks:`` and the SHA-256 of a file's length and of each 64 KiB block that is not all zeros, with its number.

    Holes are never read, so a sparse disk costs what it holds; a hole and written zeros count the same, so a copy has
    the same fingerprint on any file system.
    """
    digest = hashlib.sha256()
    with opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(size.to_bytes(8, "big"))
        for number in _blocks(file.fileno(), size):
            data = os.pread(file.fileno(), _BLOCK, number * _BLOCK)
            if data != _ZEROS[: len(data)]:
                digest.update(number.to_bytes(8, "big"))
                digest.update(data)
    return f"blocks:{digest.hexdigest()}"


def sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _blocks(handle: int, size: int) -> Iterator[int]:
    """The numbers of the blocks in which the file system keeps data, ascending (lseek(2), SEEK_DATA)."""
    position, following = 0, 0
    while position < size:
        try:
            start = os.lseek(handle, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        position = os.lseek(handle, start, os.SEEK_HOLE)
        first = max(following, start // _BLOCK)
        following = max(first, -(-position // _BLOCK))
        yield from range(first, following)


def _digest_of(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()
