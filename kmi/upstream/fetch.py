"""The download: from a ``Locked`` to bytes that are proved genuine, or none at all.

Unproved bytes live in ``<cache>/partial/.unverified-*``, where an interrupted transfer is found again. They get a name
only after the publisher's digest matched and the disk header was checked. A packed disk is unpacked after its file is
proved (unless the digest is over the content): a decompressor then never sees a stranger's bytes, and a transfer goes
on where it was cut. Only the disk is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kmi.disk import guard
from kmi.errors import HostError, NetworkError, VerificationError
from kmi.host import partial
from kmi.host.http import Http
from kmi.host.store import Store
from kmi.host.ui import Step, amount
from kmi.model.digest import Digest
from kmi.model.stages import Locked, Origin, VerifiedImage
from kmi.upstream import known as pointers
from kmi.upstream.known import Known
from kmi.upstream.prove import prove_image
from kmi.upstream.unpack import unpack

SIZE_CAP = 64 << 30
"""No publisher's disk image is larger; in bytes."""
_LEEWAY = 64 << 20


def fetch(locked: Locked, *, store: Store, http: Http, step: Step, keyrings: Path | None = None) -> VerifiedImage:
    """Download the image unless the cache has it; a cached one is hashed again, and replaced if it is damaged.

    ``keyrings`` is a folder of publishers' keys. NetworkError; VerificationError if the digest, the publisher's
    signature over the image or the disk header is wrong (the bytes are then gone); HostError if the disk is full.
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
        with store.scratch() as scratch:
            disk, known = _download(locked, file, http, step, keyrings, scratch)
        before = pointers.pointed(locked, store)  # the same bytes again keep the day they first came
        if before and before.digest == known.digest:
            known = replace(known, pulled=before.pulled)
        # The pointer goes first: killed in between, kmi finds the whole partial file again, not a blob nobody knows.
        pointers.point(locked, store, known)
        store.adopt(disk, known.digest)
        partial.discard(file)
        return _image(locked, store, known)


def cached(locked: Locked, store: Store) -> VerifiedImage | None:
    """What an earlier ``fetch`` left, not hashed again: for stages that may not need the bytes at all. None as well if
    the disk's header was checked for another format than the manifest declares now."""
    known = pointers.find(locked, store)
    if known is None or known.format != locked.format:
        return None
    return _image(locked, store, known)


def _again(locked: Locked, store: Store, step: Step) -> VerifiedImage | None:
    """The cached image if its bytes are still what they were; a damaged one is dropped and fetched anew."""
    known = pointers.find(locked, store)
    if known is None:
        return None
    try:
        path = store.require(known.digest)
    except VerificationError as error:
        step.note(f"{error.what}: fetching {locked.url} again")
        return None
    guard.check(path, declared=locked.format)
    if known.format != locked.format:
        pointers.point(locked, store, known)
    return _image(locked, store, known)


def _download(
    locked: Locked, file: Path, http: Http, step: Step, keyrings: Path | None, scratch: Path
) -> tuple[Path, Known]:
    """Fill ``file`` and prove it; returns the disk, which is ``file`` or was in it, and what is known of it."""
    _room(locked, file)
    content = locked.packing.digest_of == "content" and not locked.packing.plain
    disk, evidence = file, locked.evidence
    try:
        digests = http.download(
            locked.url,
            file,
            algorithms=_algorithms(locked),
            size_cap=_cap(locked.size),
            check=lambda digests: None if content else _same(locked, locked.digest, digests),
            on_progress=lambda done, total: step.progress(done, total),
        )
        if locked.signed:
            step.detail("checking the publisher's signature over the image")
            evidence = prove_image(file, locked.url, locked.signed, http=http, keyrings=keyrings, scratch=scratch)
        if not locked.packing.plain:
            disk = file.with_name(f"{file.name}.disk")
            digests = unpack(
                file, disk, packing=locked.packing, where=locked.url, algorithms=_algorithms(locked), step=step
            )
        for told in ((locked.digest,) if content else ()) + ((locked.content,) if locked.content else ()):
            _same(locked, told, digests)
        guard.check(disk, declared=locked.format)
    except VerificationError:
        partial.discard(file)
        partial.discard(disk)
        raise
    step.done(f"{amount(disk.stat().st_size)}, {locked.digest.algorithm} matches, {evidence}")
    pulled = datetime.now(UTC).replace(microsecond=0)
    return disk, Known(digest=digests["sha256"], pulled=pulled, format=locked.format, evidence=evidence)


def _algorithms(locked: Locked) -> list[str]:
    told = {locked.content.algorithm} if locked.content else set()
    return sorted({locked.digest.algorithm, "sha256"} | told)


def _same(locked: Locked, told: Digest, digests: Mapping[str, Digest]) -> None:
    if digests[told.algorithm] != told:
        raise VerificationError(
            "the image is not the one its publisher released",
            expected=told,
            got=digests[told.algorithm],
            where=locked.url,
            hint="a mirror that is being updated can do that: try again, and distrust the mirror if it stays so",
        )


def _cap(announced: int | None) -> int:
    """More than this is not the image, in bytes. HEAD may have met another mirror, so it is taken roughly: it keeps
    a server that never ends from filling the disk."""
    return min(2 * announced + _LEEWAY, SIZE_CAP) if announced else SIZE_CAP


def _room(locked: Locked, file: Path) -> None:
    if (locked.size or 0) > SIZE_CAP:
        limit = f"at most {amount(SIZE_CAP)}"
        raise NetworkError("no image is that large", expected=limit, got=f"{locked.size} bytes", where=locked.url)
    needed = (locked.size or 0) - (file.stat().st_size if file.exists() else 0)
    free = shutil.disk_usage(file.parent).free
    if needed > free:
        raise HostError(
            "no room for the image",
            expected=amount(needed),
            got=f"{amount(free)} free",
            where=file.parent,
            hint="`kmi cache prune --max-size SIZE` makes room, or name another cache folder with --cache",
        )


def _image(locked: Locked, store: Store, known: Known) -> VerifiedImage:
    return VerifiedImage(
        id=locked.id,
        path=store.blob(known.digest),
        digest=known.digest,
        format=locked.format,
        origin=Origin(
            method="download",
            url=locked.url,
            checksum=locked.digest,
            build=locked.build,
            released_at=locked.released_at,
            evidence=known.evidence,
            pulled_at=known.pulled,
        ),
    )
