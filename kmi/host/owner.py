"""Who works in a cache: one folder ``tmp/run-XXXXXXXX`` for each process, whose lock the kernel frees when it ends.

The folder holds the process's unfinished work, ``owner.lock`` (held as long as it lives) and ``uses``: the names of the
cached entries that it counts on. The next start removes the folders whose lock is free; ``kmi cache prune`` spares what
a living owner uses. Process ids would not do: containers that share a cache each have their own.
"""

from __future__ import annotations

import atexit
import os
import re
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from kmi.host.locks import attempt, locked
from kmi.host.removal import remove

LOCK = "owner.lock"
USES = "uses"
PRUNING = "prune"
"""The lock of the cache that a prune holds alone from asking what is used until it has taken the rest away."""

_PREFIX = "run-"
_NAME = re.compile(_PREFIX + r"[a-z0-9_]{8}")
_SWEEPING = "sweep"


@dataclass(frozen=True, slots=True)
class _Owner:
    path: Path
    handle: FileIO
    pid: int = field(default_factory=os.getpid)
    uses: set[str] = field(default_factory=set)


_mine: dict[Path, _Owner] = {}
_guard = threading.RLock()


def owned(root: Path) -> Path:
    """This process's folder for unfinished work in the cache at ``root``; gone when the process ends."""
    return _owner(root).path


def use(root: Path, entry: str) -> None:
    """From now on nobody prunes ``entry``, until this process ends. Look whether it is there after this, not before."""
    with _guard:
        owner = _owner(root)
        if entry not in owner.uses:
            with locked(root / "locks" / PRUNING, shared=True), (owner.path / USES).open("a", encoding="utf-8") as file:
                file.write(entry + "\n")
            owner.uses.add(entry)


def living(root: Path) -> dict[Path, frozenset[str]]:
    """The folder of each process that works in the cache, this one included, with what it uses."""
    found = {}
    with locked(root / "locks" / _SWEEPING):
        folders = [(folder, _free(folder)) for folder in _folders(root)]
    for folder, handle in folders:
        if handle:
            handle.close()
            continue
        try:
            found[folder] = frozenset((folder / USES).read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            found[folder] = frozenset()
    return found


def sweep(root: Path, warn: Callable[[str], None]) -> None:
    """Remove what dead owners left. Names that kmi does not make are not touched."""
    with locked(root / "locks" / _SWEEPING):  # nobody has a folder without a lock now, but the dead
        dead = [(folder, handle) for folder in _folders(root) if (handle := _free(folder))]
    for folder, handle in dead:
        with handle:
            remove(folder, warn)


def _owner(root: Path) -> _Owner:
    with _guard:
        mine = _mine.get(root)
        if mine is None or not mine.path.is_dir():
            for folder in ("tmp", "locks"):
                (root / folder).mkdir(parents=True, exist_ok=True)
            with locked(root / "locks" / _SWEEPING):
                path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root / "tmp"))
                handle = attempt(path / LOCK)
            assert handle, "nobody else knows the folder yet"
            mine = _mine[root] = _Owner(path, handle)
        return mine


def _folders(root: Path) -> list[Path]:
    found = []
    for entry in os.scandir(root / "tmp"):
        if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            found.append(Path(entry.path))
    return sorted(found)


def _free(folder: Path) -> FileIO | None:
    """The lock of a dead owner's folder, taken; None if it lives or cannot be told. One that was killed before it made
    its lock is dead too: both happen under the sweep's lock."""
    try:
        return attempt(folder / LOCK, create=not any(folder.iterdir()))
    except OSError:  # somebody else's, or nothing that kmi made
        return None


@atexit.register
def _leave() -> None:
    for owner in _mine.values():
        if owner.pid == os.getpid():  # and not a fork of it
            try:
                remove(owner.path, lambda _: None)
            except OSError:
                pass
            owner.handle.close()
