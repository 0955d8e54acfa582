"""The cache as its owner sees it: what is in it, what may go, and what is damaged."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kmi.host import appliance, owner
from kmi.host.files import unseal
from kmi.host.locks import attempt, locked
from kmi.host.removal import remove
from kmi.host.stagefiles import PROOF, RECEIPT
from kmi.host.store import GONE, Store, wrong_entry
from kmi.model.digest import HEX_LENGTHS

PRUNABLE = ("blob", "stage", "partial", "appliance")
"""What kmi can make or fetch again. ``registry`` is the only copy of what was pushed to ``local``, ``scratch`` belongs
to a living process, and ``foreign`` is nothing that kmi made."""

_STAGE = re.compile(r"[a-z][a-z-]*-[0-9a-f]{32}")
_PARTIAL = ".unverified-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing in the cache. ``size`` is the bytes it takes on the disk, ``used`` the last use (UTC); ``inodes`` its
    files with their bytes, because stages share files by link."""

    kind: str
    name: str
    path: Path
    size: int
    used: datetime
    in_use: bool
    inodes: dict[tuple[int, int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something that was damaged, and whether it is dropped."""

    name: str
    what: str
    dropped: bool


def entries(root: Path) -> tuple[Entry, ...]:
    """Everything in the cache, the least recently used first."""
    used = frozenset().union(*owner.living(root).values())
    found = [_entry(root, kind, path, used) for kind, path in _paths(root)]
    return tuple(sorted((entry for entry in found if entry), key=lambda entry: (entry.used, entry.name)))


def total(found: Iterable[Entry]) -> int:
    """The bytes that they take together: what two share counts once."""
    return sum({inode: size for entry in found for inode, size in entry.inodes.items()}.values())


def prune(
    store: Store, *, max_size: int | None, older_than: timedelta | None, dry_run: bool
) -> tuple[tuple[Entry, ...], tuple[Entry, ...]]:
    """Remove what was not used for longest until at most ``max_size`` bytes are left, and all that was not used for
    ``older_than``; never what a living process uses. Returns what went (or would go) and what is left."""
    with locked(store.root / "locks" / owner.PRUNING):  # who asks for an entry now waits, and then finds it gone
        found = entries(store.root)
        chosen = _chosen(found, max_size, older_than)
        gone = tuple(entry for entry in chosen if dry_run or _remove(store, entry))
        if not dry_run:
            _forget(store, {entry.name for entry in gone})
    return gone, tuple(entry for entry in found if entry not in gone)


_SEALED = ("locked/*.json", "accel-*.json", f"stages/*/{PROOF}")
"""Files that are dropped alone where they do not match their seals: what they tell is found out again."""


def verify(store: Store, told: Callable[[Entry], None] = lambda _: None) -> tuple[Damage, ...]:
    """Hash every blob and every stage, drop what is damaged, and say what. Downloads on their way are hashed by who
    goes on with them."""
    found = []
    for entry in entries(store.root):
        told(entry)
        if entry.kind in ("blob", "stage") and (wrong := wrong_entry(entry.path)) and os.path.lexists(entry.path):
            store.drop(entry.path)
            found.append(Damage(name=f"{entry.kind} {entry.name}", what=wrong, dropped=True))
    if told_of := appliance.wrong(store.root):
        appliance.drop(store.root, store.warn)
        found.append(Damage(name="appliance", what=told_of, dropped=True))
    for file in (path for pattern in _SEALED for path in sorted(store.root.glob(pattern))):
        if unseal(file) is None and os.path.lexists(file):
            file.unlink()
            name = str(file.relative_to(store.root))
            found.append(Damage(name=name, what="it does not match its seal", dropped=True))
    return tuple(found)


def _chosen(found: tuple[Entry, ...], max_size: int | None, older_than: timedelta | None) -> list[Entry]:
    shared = Counter(inode for entry in found for inode in entry.inodes)
    size, now, chosen = total(found), datetime.now(UTC), []
    for entry in found:
        old = older_than is not None and now - entry.used > older_than
        large = max_size is not None and size > max_size
        if entry.in_use or entry.kind not in PRUNABLE or not (old or large):
            continue
        chosen.append(entry)
        shared.subtract(entry.inodes.keys())
        size -= sum(part for inode, part in entry.inodes.items() if not shared[inode])
    return chosen


def _remove(store: Store, entry: Entry) -> bool:
    if entry.kind in ("blob", "stage"):
        store.drop(entry.path)
        return True
    if entry.kind != "partial":
        return remove(entry.path, store.warn)
    handle = attempt(store.root / "locks" / _fetching(entry.path))
    if handle is None:  # somebody has begun to go on with it
        return False
    with handle:
        entry.path.with_name(f"{entry.path.name}.validator").unlink(missing_ok=True)
        return remove(entry.path, store.warn)


def _forget(store: Store, names: set[str]) -> None:
    """Remove what only mattered with something that is gone: the lock of a stage, the pointer to a blob."""
    for name in names:
        lock = store.root / "locks" / name
        if lock.is_file() and (handle := attempt(lock)):
            with handle:
                lock.unlink()
    for pointer in (store.root / "locked").glob("*.json"):
        if (unseal(pointer) or {}).get("sha256") in names:
            pointer.unlink()


def _paths(root: Path) -> Iterator[tuple[str, Path]]:
    for folder in (root / "blobs").iterdir():
        length = HEX_LENGTHS.get(folder.name)
        for path in folder.iterdir() if folder.is_dir() else (folder,):
            yield "blob" if re.fullmatch(rf"[0-9a-f]{{{length}}}", path.name) else "foreign", path
    for path in (root / "stages").iterdir():
        yield "stage" if _STAGE.fullmatch(path.name) else "foreign", path
    if (root / "partial").is_dir():
        for path in (root / "partial").glob(f"{_PARTIAL}*"):
            if path.suffix != ".validator":
                yield "partial", path
    for path in (root / "tmp").iterdir():
        yield "scratch", path
    for kind in (appliance.FOLDER, "registry"):
        if (root / kind).is_dir():
            yield kind, root / kind


def _entry(root: Path, kind: str, path: Path, used: frozenset[str]) -> Entry | None:
    """None for what somebody removed meanwhile, or is removing."""
    if path.name.startswith(GONE):
        return None
    try:
        inodes = dict(_inodes(path))
        when = (path / RECEIPT if (path / RECEIPT).is_file() else path).stat(follow_symlinks=False).st_mtime
        busy = {
            "partial": lambda: _busy(root / "locks" / _fetching(path)),
            "registry": lambda: _busy(path / "users.lock"),
            "scratch": lambda: _busy(path / owner.LOCK),
        }.get(kind, lambda: path.name in used)()
    except FileNotFoundError:
        return None
    return Entry(
        kind=kind, name=path.name, path=path, size=sum(inodes.values()), used=datetime.fromtimestamp(when, UTC),
        in_use=busy, inodes=inodes,
    )  # fmt: skip


def _inodes(path: Path) -> Iterator[tuple[tuple[int, int], int]]:
    status = path.stat(follow_symlinks=False)
    yield (status.st_dev, status.st_ino), status.st_blocks * 512
    if path.is_dir() and not path.is_symlink():
        for folder, names, files in os.walk(path):
            for name in (*names, *files):
                status = Path(folder, name).stat(follow_symlinks=False)
                yield (status.st_dev, status.st_ino), status.st_blocks * 512


def _fetching(partial: Path) -> str:
    """The lock that a download holds (kmi.upstream.fetch)."""
    return "fetch-" + partial.name.removeprefix(_PARTIAL)[:40]


def _busy(lock: Path) -> bool:
    try:
        handle = attempt(lock, create=False)
    except FileNotFoundError:
        return False
    if handle:
        handle.close()
    return handle is None
