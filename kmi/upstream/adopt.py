"""A disk that the user already has, where its publisher offers none to all: looked at, and taken into the cache.

Nobody's signature proves it: the evidence is ``user``, and the checksum is the file's own. Its release date is when the
file was last changed, which `touch -d` sets: nothing else tells one, and it is the same on every machine.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from io import BufferedReader
from pathlib import Path

from kmi.disk import guard, sparse
from kmi.errors import UsageError, VerificationError
from kmi.host.store import Store
from kmi.host.ui import Step, amount
from kmi.model.digest import Digest
from kmi.model.spec import ImageSpec, OwnDisk
from kmi.model.stages import Evidence, Origin, VerifiedImage
from kmi.upstream.located import FIRST, possible

USER = "user"
_CHUNK = 1 << 20


def adopt(spec: ImageSpec, path: Path, store: Store, step: Step) -> VerifiedImage:
    """Copy the disk at ``path`` into the cache, under its digest, if it is of the format that the manifest says.

    UsageError if the manifest takes no disk of the user's, or the file is none or has an impossible date;
    VerificationError if its header is wrong or it changes meanwhile; HostError if there is no room.
    """
    own = wanted(spec)
    with _opened(path, spec) as file:
        released = _date(os.fstat(file.fileno()).st_mtime, path)
        step.detail("reading your disk")
        digest = Digest(algorithm="sha256", hex=hashlib.file_digest(file, "sha256").hexdigest())
        with store.lock(f"adopt-{digest.hex[:40]}", blocked=lambda: step.detail("another run is copying it")):
            image = _again(digest, own.format, store, step) or _copied(file, digest, own.format, path, store, step)
        step.done(f"{amount(image.stat().st_size)}, your own disk: nobody but you vouches for it")
    return VerifiedImage(
        id=spec.id,
        path=image,
        digest=digest,
        format=own.format,
        origin=Origin(
            method="byo",
            url="",
            checksum=digest,
            build=f"{released:%Y%m%d}",
            released_at=released,
            evidence=Evidence(kind=USER),
            pulled_at=datetime.now(UTC).replace(microsecond=0),
        ),
    )


def wanted(spec: ImageSpec) -> OwnDisk:
    """What the manifest says of the user's disk. UsageError if it takes none."""
    if spec.own_disk is None:
        raise UsageError(f"{spec.id} takes no disk of your own", expected="an own_disk: section", where=spec.where)
    return spec.own_disk


@contextmanager
def _opened(path: Path, spec: ImageSpec) -> Iterator[BufferedReader]:
    """The file, opened once and never waited for: a pipe has no writer."""
    hint = f"{spec.id} takes {spec.own_disk.where}" if spec.own_disk else None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError("the disk cannot be opened", got=error.strerror, where=path, hint=hint) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UsageError("the disk is no regular file", where=path, hint=hint)
    with os.fdopen(handle, "rb") as file:
        yield file


def _again(digest: Digest, form: str, store: Store, step: Step) -> Path | None:
    """The blob of an earlier run, hashed again; None if it is not there or damaged."""
    if not store.has(digest):
        return None
    try:
        path = store.require(digest)
    except VerificationError as error:
        step.note(f"{error.what}: copying the disk again")
        return None
    guard.check(path, declared=form)
    step.reuse(f"{digest.algorithm}:{digest.short}… is in the cache")
    return path


def _copied(file: BufferedReader, digest: Digest, form: str, path: Path, store: Store, step: Step) -> Path:
    file.seek(0)
    size = os.fstat(file.fileno()).st_size
    with store.scratch() as scratch:
        copy = scratch / "disk"
        told = sparse.write(
            iter(lambda: file.read(_CHUNK), b""), copy, algorithms=("sha256",),
            on_write=lambda done: step.progress(done, size, "copying"),
        )  # fmt: skip
        if told["sha256"] != digest:
            hint = "a virtual machine may be running on it"
            raise VerificationError("your disk changes while it is read", where=path, hint=hint)
        guard.check(copy, declared=form)
        return store.adopt(copy, digest)


def _date(changed: float, path: Path) -> datetime:
    try:
        moment = datetime.fromtimestamp(int(changed), UTC)
    except (OverflowError, ValueError, OSError):
        moment = FIRST - timedelta(days=1)
    if not possible(moment):
        raise UsageError(
            "your disk has an impossible date", expected=f"{FIRST:%Y-%m-%d} to today", where=path,
            hint="`touch -d DATE FILE` gives it that of its release",
        )  # fmt: skip
    return moment
