"""Room on the disks that kmi writes to, and what to do when there is none."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kmi.errors import HostError, KmiError
from kmi.host.ui import amount

FULL = (errno.ENOSPC, errno.EDQUOT)
_TOLD = re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE)
_LITTLE = 16 << 20
"""Bytes: with less than this a tool's complaint about a full disk is believed to mean this disk."""
_LAST = 1 << 20
_FEW = 16
_PRUNE = "make room there (`kmi cache prune --max-size SIZE` takes from the cache what was not used for longest)"
_REMOTE = ("skopeo", "cosign", "git", "ssh", "ssh-keyscan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a file system has for this user: bytes, and files (None where it does not count them)."""

    folder: Path
    free: int
    files: int | None
    device: int

    @property
    def short(self) -> bool:
        return self.free < _LITTLE or (self.files is not None and self.files < _FEW)

    def __str__(self) -> str:
        few = f" and room for {self.files} files" if self.files is not None and self.files < _FEW else ""
        return f"{amount(self.free)}{few} free at {self.folder}"


def look(folder: Path) -> Room:
    """The room where ``folder`` is, or will be: the nearest folder that exists counts."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    told = os.statvfs(there)
    return Room(
        folder=there,
        free=told.f_bavail * told.f_frsize,
        files=told.f_favail if told.f_files else None,
        device=there.stat().st_dev,
    )


def advice(room: Room, cache: Path) -> str:
    """What to do about too little room: prune where the cache shares the disk, else only make room."""
    if room.device != look(cache).device:
        return f"free some space at {room.folder}"
    return (
        "`kmi cache ls` shows what the cache holds, `kmi cache prune --max-size SIZE` removes what was not used for "
        f"longest; or free some space at {room.folder}, or set --cache to a larger disk"
    )


def full(error: KmiError, folders: Sequence[Path], cache: Path) -> KmiError:
    """The same error, but one that comes of a full disk as HostError with the folder that is full and what to do.

    ``folders`` are those that kmi writes to: the system tells a full disk, not which.
    """
    cause = error.__cause__
    if not isinstance(cause, OSError) or cause.errno not in FULL:
        return error
    named = [Path(os.fsdecode(cause.filename)).parent] if isinstance(cause.filename, str | bytes) else []
    return _error([*named, *folders], cache, error.what)


def hold(folders: Iterable[Path]) -> None:
    """HostError if one of these is full to the last MiB: QEMU stops a guest whose disk file cannot grow, and tells
    nobody (qemu(1), ``werror=enospc``)."""
    for room in map(look, folders):
        if room.free < _LAST:
            raise HostError(
                "the disk is full", got=str(room), where=room.folder, hint=f"{_PRUNE}, then run the same command again"
            )


def starved(words: Sequence[str], tail: str, cwd: Path | None) -> HostError | None:
    """What to say of a program that failed for want of room, by its last words and the files that it was given; None
    if it failed for another reason. One that talks to a registry repeats what the other side says, and is only
    believed where a disk here is short."""
    if not _TOLD.search(tail):
        return None
    paths = (word.rpartition(":")[2].rpartition("=")[2] for word in words[1:])
    folders = [cwd or Path.cwd(), *(Path(path).parent for path in paths if path.startswith("/"))]
    rooms = [look(folder) for folder in dict.fromkeys((*folders, Path(tempfile.gettempdir())))]
    short = next((room for room in rooms if room.short), None)
    if words[0] in _REMOTE and short is None:
        return None
    return HostError(
        f"the disk is too full for {words[0]}",
        got=f"{tail.splitlines()[-1]}\n           {short or rooms[-2]}",
        where=(short or rooms[-2]).folder,
        hint=f"{_PRUNE}, then run the same command again",
    )


def _error(folders: Sequence[Path], cache: Path, what: str) -> HostError:
    rooms = list({(room := look(folder)).device: room for folder in reversed(folders)}.values())[::-1]
    short = [room for room in rooms if room.short] or rooms
    return HostError(
        what,
        got="; ".join(map(str, short)),
        where=short[0].folder,
        hint=f"{advice(short[0], cache)}; then run the same command again: it goes on where it was",
    )
