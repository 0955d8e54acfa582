"""A file on its way: unverified bytes, hashed as they are written, and what is needed to go on after a stop."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from kmi.errors import HostError
from kmi.host.store import write_json
from kmi.model.digest import Digest

_READ = 1 << 20


class Partial:
    """An unfinished download at ``path``; beside it ``<path>.validator`` names the version of the file it is part of.

    Opening one that an earlier process left hashes what is there again: nothing on disk is taken on trust. ``pieced``
    is for the writer to set where the bytes come from more than one answer; ``restart`` takes it back.
    """

    def __init__(self, path: Path, algorithms: Sequence[str]) -> None:
        self._path = path
        self._sidecar = path.with_name(path.name + ".validator")
        self._algorithms = tuple(algorithms)
        self._hashers = self._fresh()
        self.validator = self._recorded()
        self.offset = 0
        self.pieced = False
        with self._room():
            # Unbuffered: what did not fit is then not written again by close().
            self._file = path.open("ab" if self.validator else "wb", buffering=0)
        if self.validator:
            self.offset = self._rehash()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def write(self, chunk: bytes) -> None:
        """Append ``chunk``. HostError if the disk is full: what fitted is kept, hashed and counted."""
        left = memoryview(chunk)
        while left:
            with self._room():
                written = self._file.write(left)
            for hasher in self._hashers:
                hasher.update(left[:written])
            self.offset += written
            left = left[written:]

    def restart(self, validator: str | None) -> None:
        """Begin again with another version of the file. The bytes go first: a stop in between leaves an empty file."""
        self._file.seek(0)
        self._file.truncate()
        self._hashers, self.offset, self.validator, self.pieced = self._fresh(), 0, validator, False
        if validator:
            with self._room():
                write_json(self._sidecar, {"validator": validator})
        else:
            self._sidecar.unlink(missing_ok=True)

    def digests(self) -> dict[str, Digest]:
        """Of everything written so far, by algorithm."""
        pairs = zip(self._algorithms, self._hashers, strict=True)
        return {name: Digest(algorithm=name, hex=hasher.hexdigest()) for name, hasher in pairs}

    @contextmanager
    def _room(self) -> Iterator[None]:
        """Turn a full disk into HostError."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise HostError(
                "the disk is full",
                got=f"{self.offset} bytes written",
                where=self._path.parent,
                hint="`kmi cache prune --max-size SIZE` makes room, or name another cache folder with --cache; the "
                "download goes on where it was",
            ) from error

    def _fresh(self) -> list[hashlib._Hash]:
        return [hashlib.new(name) for name in self._algorithms]

    def _recorded(self) -> str | None:
        try:
            value = json.loads(self._sidecar.read_text(encoding="utf-8"))["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return value if isinstance(value, str) and value.isprintable() else None

    def _rehash(self) -> int:
        size = 0
        with self._path.open("rb") as file:
            while chunk := file.read(_READ):
                size += len(chunk)
                for hasher in self._hashers:
                    hasher.update(chunk)
        return size


def discard(path: Path) -> None:
    """Remove a partial file and its validator."""
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".validator").unlink(missing_ok=True)
