"""The cache: content-addressed blobs and finished stages, committed by one rename.

A path below ``blobs/`` or ``stages/`` exists only after its content was complete and, for a blob, after its digest
matched. Disks decay and folders are copied half, so nothing is believed for its name alone: what a stage that runs
reads is hashed before (``prove``). Unfinished work lives in the folder of ``kmi.host.owner``.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmi.errors import HostError, InternalError, VerificationError
from kmi.host import locks, owner, stagefiles
from kmi.host.files import canonical, hash_file, seal, sync, unseal, write_json, write_text
from kmi.host.owner import owned
from kmi.host.removal import remove
from kmi.host.stagefiles import RECEIPT
from kmi.model.digest import Digest

__all__ = ["Damaged", "Stage", "Store", "canonical", "hash_file", "owned", "stage_key", "write_json", "write_text"]

GONE = ".gone-"
"""Begins the name of what is on its way out: renamed first, so that nobody finds it half removed."""

_FOLDERS = ("blobs", "blobs/sha256", "locked", "stages", "tmp", "locks", "partial")
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache directory of kmi (bford.info/cachedir).\n"


class Damaged(VerificationError):
    """Something in the cache is not what it was. It is dropped already: the same work makes it anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A finished stage: its folder, its key, its receipt, and whether it was there before (``reused``)."""

    path: Path
    key: str
    receipt: Mapping[str, Any]
    reused: bool

    @property
    def outputs(self) -> Mapping[str, Any]:
        """What the stage's work returned, as JSON."""
        outputs: Mapping[str, Any] = self.receipt["outputs"]
        return outputs


class Store:
    """One cache folder. Safe to share between processes, containers included: writers lock, look again, and rename;
    what a process has asked for is not pruned before it ends. ``warn`` is told of damage and of what cannot be removed.
    HostError if a folder of the cache is something else; OSError if the cache cannot be written."""

    def __init__(self, root: Path, warn: Callable[[str], None] = lambda _: None) -> None:
        if (root / "oci-layout").exists():  # whose blobs have the names of the cache's: a prune would take them
            raise HostError("this is no cache of kmi", expected="a cache", got="an OCI layout", where=root)
        self.root = root
        self.warn = warn
        self._made: set[str] = set()
        for name in _FOLDERS:
            _folder(root / name)
        tag = root / "CACHEDIR.TAG"
        if not tag.exists():
            write_text(tag, _TAG)
        owner.sweep(root, warn)
        for leaving in (root / "stages", *(root / "blobs").iterdir()):
            for gone in leaving.glob(f"{GONE}*"):
                remove(gone, warn)

    def blob(self, digest: Digest) -> Path:
        return self.root / "blobs" / digest.algorithm / digest.hex

    def has(self, digest: Digest) -> bool:
        """Whether the blob is there, to stay until this process ends. Its bytes are not looked at."""
        owner.use(self.root, digest.hex)
        path = self.blob(digest)
        try:
            there = stat.S_ISREG(path.stat(follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False
        if there:
            _touch(path)
        return there

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A fresh folder on the cache's file system, gone at the end of the block."""
        path = Path(tempfile.mkdtemp(dir=owned(self.root)))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def lock(self, name: str, *, shared: bool = False, blocked: Callable[[], None] | None = None) -> Iterator[None]:
        """Hold the named lock; ``blocked`` is called once if another process has it."""
        with locks.locked(self.root / "locks" / name, shared=shared, blocked=blocked):
            yield

    def adopt(self, file: Path, digest: Digest) -> Path:
        """Name a complete file on the cache's file system by its digest, which the caller has verified."""
        owner.use(self.root, digest.hex)
        target = self.blob(digest)
        _folder(target.parent)
        file.chmod(0o444)
        sync(file)
        file.replace(target)
        return target

    def require(self, digest: Digest) -> Path:
        """The blob, hashed again before use. Damaged (and the blob is dropped) if a bit has flipped or it is gone."""
        path = self.blob(digest)
        self.prove(path)
        return path

    def stage(
        self,
        name: str,
        inputs: Mapping[str, object],
        build: Callable[[Path], Mapping[str, object]],
        *,
        blocked: Callable[[], None] | None = None,
    ) -> Stage:
        """Run ``build`` unless a stage with these inputs is there.

        ``inputs`` is everything that changes the bytes (JSON values); the key is its SHA-256. ``build`` fills an
        empty folder and returns the outputs for the receipt. A failure leaves nothing behind.
        """
        key = stage_key(name, inputs)
        found = self.find(name, key)
        if found:
            return found
        with self.lock(f"{name}-{key[:32]}", blocked=blocked):
            found = self.find(name, key)  # another process may have made it while we waited
            if found:
                return found
            with self.scratch() as scratch:
                work = scratch / "stage"
                work.mkdir()
                outputs = build(work)
                receipt = {"stage": name, "key": key, "inputs": dict(inputs), "outputs": dict(outputs),
                           "files": stagefiles.scan(work)}  # fmt: skip
                write_json(work / RECEIPT, seal(receipt))
                sync(work / RECEIPT)
                path = self.stage_path(name, key)
                self.drop(path)  # what was not fit to be found
                work.replace(path)
            self._made.add(path.name)
            return Stage(path=path, key=key, receipt=receipt, reused=False)

    def stage_path(self, name: str, key: str) -> Path:
        return self.root / "stages" / f"{name}-{key[:32]}"

    def find(self, name: str, key: str) -> Stage | None:
        """A stage with a whole receipt, every file in its size, and the small ones hashed; it stays until this process
        ends. None, and ``warn`` is told, if it is there and damaged."""
        path = self.stage_path(name, key)
        owner.use(self.root, path.name)
        if not os.path.lexists(path):
            return None
        receipt = _receipt(path)
        wrong = _wrong(path, receipt, upto=stagefiles.SMALL)
        if wrong or receipt is None or receipt["key"] != key:
            self.warn(f"{path.name} in the cache is damaged and is made again: {wrong or 'the key is another'}")
            return None
        _touch(path / RECEIPT)
        return Stage(path=path, key=key, receipt=receipt, reused=True)

    def prove(self, path: Path, *, quick: bool = False) -> None:
        """Hash the cached blob or stage that holds ``path``, unless this process has just made it.

        With ``quick``, files that were hashed before and not touched since are believed. Damaged if they are not what
        they were: the blob or stage is then dropped.
        """
        held = self._holder(path)
        if held.name in self._made:
            return
        wrong = wrong_entry(held, quick=quick)
        if wrong:
            self.drop(held)
            hint = "run the same command again: it makes anew what is missing"
            raise Damaged("a cached file is damaged, and is removed", got=wrong, where=held, hint=hint)

    def proved(self, path: Path) -> None:
        """The stage's files were hashed or linked just now: what ``prove`` with ``quick`` compares with."""
        stagefiles.prove(self._holder(path))

    def drop(self, path: Path) -> None:
        """Remove the blob or stage that holds ``path``. Somebody who reads it at this moment finds no file."""
        held = self._holder(path)
        self._made.discard(held.name)
        gone = held.with_name(f"{GONE}{secrets.token_hex(4)}-{held.name}")
        try:
            held.replace(gone)
        except FileNotFoundError:
            return
        remove(gone, self.warn)

    def _holder(self, path: Path) -> Path:
        """The blob's file or the stage's folder."""
        match path.relative_to(self.root).parts:
            case ("stages", name, *_):
                return self.root / "stages" / name
            case ("blobs", algorithm, name):
                return self.root / "blobs" / algorithm / name
            case _:
                raise InternalError("not in the cache's blobs or stages", got=path)


def stage_key(name: str, inputs: Mapping[str, object]) -> str:
    return hashlib.sha256(canonical({"stage": name, "inputs": inputs})).hexdigest()


def wrong_entry(path: Path, *, quick: bool = False) -> str | None:
    """What is wrong with a blob's file or a stage's folder, everything hashed; None if nothing is."""
    return _wrong_blob(path) if path.parent.parent.name == "blobs" else _wrong(path, _receipt(path), quick=quick)


def _receipt(path: Path) -> dict[str, Any] | None:
    return unseal(path / RECEIPT) if path.is_dir() and not path.is_symlink() else None


def _wrong(
    path: Path, receipt: Mapping[str, Any] | None, *, upto: int | None = None, quick: bool = False
) -> str | None:
    if receipt is None:
        return "the receipt is missing or damaged"
    try:
        return stagefiles.damage(path, receipt["files"], upto=upto, quick=quick)
    except FileNotFoundError as error:  # somebody drops it at this moment
        return f"{error.filename} is gone"


def _wrong_blob(path: Path) -> str | None:
    named = Digest(algorithm=path.parent.name, hex=path.name)
    if path.is_symlink() or not path.is_file():
        return "it is missing, or no plain file"
    got = hash_file(path, named.algorithm)
    return None if got == named else f"it is {got}"


def _folder(path: Path) -> None:
    """Make a folder of the cache. A link in its place would have kmi tidy up somewhere else."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise HostError("this is no cache of kmi", expected="a folder", got="a link or a file", where=path)
    path.mkdir(parents=True, exist_ok=True)


def _touch(path: Path) -> None:
    """Note that it was used now: what prune goes by."""
    try:
        os.utime(path)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):  # another user's: only prune goes by it
            raise
