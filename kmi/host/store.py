"""The cache: content-addressed blobs and finished stages, committed by one rename.

A path below ``blobs/`` or ``stages/`` is proof: it exists only after its content was complete and, for a blob, after
its digest matched. Unfinished work lives in ``tmp/<pid>-<start time>/``; the next start removes what dead owners left.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmi.errors import VerificationError
from kmi.model.digest import Digest

RECEIPT = "receipt.json"
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache directory of kmi (bford.info/cachedir).\n"


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
    """One cache folder. Safe to share between processes: writers lock, look again, and rename."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("blobs/sha256", "locked", "stages", "tmp", "locks"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        tag = root / "CACHEDIR.TAG"
        if not tag.exists():
            tag.write_text(_TAG, encoding="ascii")
        self._sweep()

    def blob(self, digest: Digest) -> Path:
        return self.root / "blobs" / digest.algorithm / digest.hex

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
        with (self.root / "locks" / name).open("a") as handle:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            try:
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if blocked:
                    blocked()
                fcntl.flock(handle, kind)
            yield

    def adopt(self, file: Path, digest: Digest) -> Path:
        """Name a complete file on the cache's file system by its digest, which the caller has verified."""
        target = self.blob(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.chmod(0o444)
        _sync(file)
        file.replace(target)
        return target

    def require(self, digest: Digest) -> Path:
        """The blob, hashed again before use. VerificationError (and the blob is dropped) if a bit has flipped."""
        path = self.blob(digest)
        if (got := hash_file(path, digest.algorithm)) != digest:
            path.unlink()
            raise VerificationError(
                "a cached file is damaged", expected=digest, got=got, where=path, hint="run the command again"
            )
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
                receipt = {"stage": name, "key": key, "inputs": dict(inputs), "outputs": dict(outputs)}
                write_json(work / RECEIPT, receipt)
                _sync(work / RECEIPT)
                shutil.rmtree(self.stage_path(name, key), ignore_errors=True)  # what has no readable receipt
                work.replace(self.stage_path(name, key))
            return Stage(path=self.stage_path(name, key), key=key, receipt=receipt, reused=False)

    def stage_path(self, name: str, key: str) -> Path:
        return self.root / "stages" / f"{name}-{key[:32]}"

    def drop(self, path: Path) -> None:
        """Remove a damaged file: a blob alone, or the whole stage that holds it, so that the next run makes it anew."""
        stages = self.root / "stages"
        if path.is_relative_to(stages):
            shutil.rmtree(stages / path.relative_to(stages).parts[0])
        else:
            path.unlink(missing_ok=True)

    def find(self, name: str, key: str) -> Stage | None:
        path = self.stage_path(name, key)
        try:
            receipt = json.loads((path / RECEIPT).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # no receipt, or one that a power cut left empty
            return None
        os.utime(path / RECEIPT)
        return Stage(path=path, key=key, receipt=receipt, reused=True)

    def _sweep(self) -> None:
        """Remove the scratch folders of processes that are gone (pid and start time name the owner)."""
        for folder in (self.root / "tmp").iterdir():
            pid, _, started = folder.name.partition("-")
            if pid.isdigit() and _started(int(pid)) != started:
                shutil.rmtree(folder, ignore_errors=True)


def owned(root: Path) -> Path:
    """This process's folder for unfinished work in the cache at ``root``; its name says who owns it."""
    path = root / "tmp" / f"{os.getpid()}-{_started(os.getpid())}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def stage_key(name: str, inputs: Mapping[str, object]) -> str:
    return hashlib.sha256(canonical({"stage": name, "inputs": inputs})).hexdigest()


def canonical(value: object) -> bytes:
    """JSON with sorted keys and no spaces: the same value gives the same bytes on any machine."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write_json(path: Path, value: object) -> None:
    """Write pretty JSON so that the file is either the old one or the whole new one."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file by temporary file and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def hash_file(path: Path, algorithm: str = "sha256") -> Digest:
    with path.open("rb") as file:
        return Digest(algorithm=algorithm, hex=hashlib.file_digest(file, algorithm).hexdigest())


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _started(pid: int) -> str:
    """The process's start time in clock ticks since boot (proc(5), stat field 22); empty if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[19]
