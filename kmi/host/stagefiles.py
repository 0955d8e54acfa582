"""The files of a finished stage: what its receipt says of them, and whether they are still so.

Each file has its size and a digest. One below ``blobs/<algorithm>/`` is named by its digest already, as OCI layouts do;
every other gets a ``fingerprint``. Small files are looked at whenever a stage is found; large ones before a stage that
runs reads them. ``PROOF`` remembers what the large ones looked like to the file system when they were last hashed, for
those that are handed on by name without anybody reading them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kmi.errors import InternalError
from kmi.host.files import fingerprint, hash_file, seal, unseal, write_json
from kmi.model.digest import HEX_LENGTHS

RECEIPT = "receipt.json"
PROOF = "proof.json"
SMALL = 64 * 1024
"""Bytes up to which a file is hashed each time its stage is found."""

Files = Mapping[str, Mapping[str, Any]]
"""By path in the stage: ``size`` in bytes and ``digest``."""


def scan(folder: Path) -> Files:
    """Every file of a stage that is being committed. InternalError for anything but plain files and folders."""
    found = {}
    for name, status in _walk(folder):
        if not stat.S_ISREG(status.st_mode):
            raise InternalError("a stage left something that is neither file nor folder", got=name)
        found[name] = {"size": status.st_size, "digest": _named(name) or fingerprint(folder / name)}
    return found


def damage(folder: Path, files: Files, *, upto: int | None = None, quick: bool = False) -> str | None:
    """What is wrong with a stage's files, in a few words; None if nothing is.

    Files larger than ``upto`` bytes are not read; with ``quick`` nor are those that no program has touched since
    ``prove`` (inode, size, times of change), which finds every write but not a medium that decays.
    """
    there = dict(_walk(folder))
    for name in sorted(there.keys() - files.keys()):
        return f"{name} does not belong there"
    proved = (unseal(folder / PROOF) or {}) if quick else {}
    for name, told in sorted(files.items()):
        status = there.get(name)
        if status is None:
            return f"{name} is missing"
        if not stat.S_ISREG(status.st_mode):
            return f"{name} is no plain file"
        if status.st_size != told["size"]:
            return f"{name} has {status.st_size} bytes instead of {told['size']}"
        if (upto is not None and status.st_size > upto) or proved.get(name) == _look(status):
            continue
        if (got := digest(folder / name, told["digest"])) != told["digest"]:
            return f"{name} is {got} instead of {told['digest']}"
    return None


def prove(folder: Path) -> None:
    """Remember what the files look like now: the caller has hashed them, or linked them, which changes their times."""
    looks = {name: _look(status) for name, status in _walk(folder)}
    if unseal(folder / PROOF) != looks:
        write_json(folder / PROOF, seal(looks))


def digest(path: Path, like: str) -> str:
    """The digest of a file, of the kind that ``like`` is."""
    kind = like.partition(":")[0]
    return str(hash_file(path, kind)) if kind in HEX_LENGTHS else fingerprint(path)


def _named(name: str) -> str:
    """The digest that a path ``…/blobs/<algorithm>/<hex>`` claims, else nothing."""
    match name.split("/"):
        case [*_, "blobs", algorithm, text] if HEX_LENGTHS.get(algorithm) == len(text):
            return f"{algorithm}:{text}"
    return ""


def _look(status: os.stat_result) -> list[int]:
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _walk(folder: Path, below: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Everything but folders, by its path; links are not followed. Receipt and proof speak for themselves."""
    with os.scandir(folder / below) as entries:
        for entry in entries:
            name = below + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(folder, name + "/")
            elif name not in (RECEIPT, PROOF):
                yield name, entry.stat(follow_symlinks=False)
