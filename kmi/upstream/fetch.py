"""The download: from a ``Locked`` to bytes that are proved genuine, or none at all.

Unproved bytes live in ``<cache>/partial/.unverified-*``, where an interrupted transfer is found again. They get a name
only after the publisher's digest matched and the disk header was checked.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kmi.disk import guard
from kmi.errors import HostError, VerificationError
from kmi.host import partial
from kmi.host.http import Http
from kmi.host.store import Store, write_json
from kmi.host.ui import Step, amount
from kmi.model.digest import Digest
from kmi.model.stages import Locked, Origin, VerifiedImage

SIZE_CAP = 64 << 30
"""No publisher's disk image is larger; in bytes."""


def fetch(locked: Locked, *, store: Store, http: Http, step: Step) -> VerifiedImage:
    """Download the image unless the cache has it; a cached one is hashed again, and replaced if it is damaged.

    NetworkError; VerificationError if the digest or the disk header is wrong (the bytes are then gone); HostError if
    the disk is full.
    """
    key = f"{locked.digest.algorithm}-{locked.digest.hex}"
    with store.lock(f"fetch-{key[:40]}", blocked=lambda: step.detail("another run is fetching it")):
        folder = store.root / "partial"
        folder.mkdir(exist_ok=True)
        file = folder / f".unverified-{key}"
        image = _again(locked, store, step)
        if image:
            partial.discard(file)  # of a process that was killed when all was done but this
            step.reuse(f"{locked.digest.algorithm}:{locked.digest.short}… in the cache")
            return image
        digest = _download(locked, file, http, step)
        pulled = datetime.now(UTC).replace(microsecond=0)
        # The pointer goes first: killed in between, kmi finds the whole partial file again, not a blob nobody knows.
        _point(locked, store, digest, pulled)
        store.adopt(file, digest)
        partial.discard(file)
        return _image(locked, store, digest, pulled)


def cached(locked: Locked, store: Store) -> VerifiedImage | None:
    """What an earlier ``fetch`` left, not hashed again: for stages that may not need the bytes at all. None as well if
    the disk's header was checked for another format than the manifest declares now."""
    known = _known(locked, store)
    if known is None or known.format != locked.format:
        return None
    return _image(locked, store, known.digest, known.pulled)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A pointer whose blob exists: the file's SHA-256, when it came (UTC), and the format it was checked for."""

    digest: Digest
    pulled: datetime
    format: str


def _known(locked: Locked, store: Store) -> _Known | None:
    try:
        pointer = json.loads(_pointer(locked, store).read_text(encoding="utf-8"))
        known = _Known(
            digest=Digest(algorithm="sha256", hex=pointer["sha256"]),
            pulled=datetime.fromisoformat(pointer["pulled_at"]),
            format=str(pointer.get("format", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return known if store.blob(known.digest).exists() else None


def _again(locked: Locked, store: Store, step: Step) -> VerifiedImage | None:
    """The cached image if its bytes are still what they were; a damaged one is dropped and fetched anew."""
    known = _known(locked, store)
    if known is None:
        return None
    try:
        path = store.require(known.digest)
    except VerificationError as error:
        _pointer(locked, store).unlink(missing_ok=True)
        step.note(f"{error.what}: fetching {locked.url} again")
        return None
    guard.check(path, declared=locked.format)
    if known.format != locked.format:
        _point(locked, store, known.digest, known.pulled)
    return _image(locked, store, known.digest, known.pulled)


def _download(locked: Locked, file: Path, http: Http, step: Step) -> Digest:
    """Fill ``file`` and prove it; returns its SHA-256."""
    _room(locked, file)
    algorithms = sorted({locked.digest.algorithm, "sha256"})
    digests = http.download(
        locked.url,
        file,
        algorithms=algorithms,
        size_cap=SIZE_CAP,
        on_progress=lambda done, total: step.progress(done, total),
    )
    try:
        if digests[locked.digest.algorithm] != locked.digest:
            raise VerificationError(
                "the image is not the one its publisher released",
                expected=locked.digest,
                got=digests[locked.digest.algorithm],
                where=locked.url,
                hint="a mirror that is being updated can do that: try again, and distrust the mirror if it stays so",
            )
        guard.check(file, declared=locked.format)
    except VerificationError:
        partial.discard(file)
        raise
    step.done(f"{amount(file.stat().st_size)}, {locked.digest.algorithm} matches, {locked.evidence}")
    return digests["sha256"]


def _room(locked: Locked, file: Path) -> None:
    needed = (locked.size or 0) - (file.stat().st_size if file.exists() else 0)
    free = shutil.disk_usage(file.parent).free
    if needed > free:
        raise HostError(
            "no room for the image",
            expected=amount(needed),
            got=f"{amount(free)} free",
            where=file.parent,
            hint="make room, or name another cache folder with --cache",
        )


def _point(locked: Locked, store: Store, digest: Digest, pulled: datetime) -> None:
    """Record which blob has the publisher's digest. The blob may be missing yet: a pointer alone proves nothing."""
    write_json(
        _pointer(locked, store),
        {"sha256": digest.hex, "url": locked.url, "format": locked.format, "pulled_at": pulled.isoformat()},
    )


def _pointer(locked: Locked, store: Store) -> Path:
    return store.root / "locked" / f"{locked.digest.algorithm}-{locked.digest.hex}.json"


def _image(locked: Locked, store: Store, digest: Digest, pulled: datetime) -> VerifiedImage:
    return VerifiedImage(
        id=locked.id,
        path=store.blob(digest),
        digest=digest,
        format=locked.format,
        origin=Origin(
            method="download",
            url=locked.url,
            checksum=locked.digest,
            build=locked.build,
            released_at=locked.released_at,
            evidence=locked.evidence,
            pulled_at=pulled,
        ),
    )
