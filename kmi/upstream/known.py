"""What the cache knows of a publisher's digest: which blob has it, when it came, and what proved it.

A pointer, ``locked/<algorithm>-<hex>.json``, proves nothing by itself: the blob is hashed again before it is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from kmi.host.files import seal, unseal
from kmi.host.store import Store, write_json
from kmi.model.codec import decode, encode
from kmi.model.digest import Digest
from kmi.model.spec import PLAIN
from kmi.model.stages import Evidence, Locked


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The disk's SHA-256, when it came (UTC), the format it was checked for, and what proved it."""

    digest: Digest
    pulled: datetime
    format: str
    evidence: Evidence


def find(locked: Locked, store: Store) -> Known | None:
    """What the pointer says, if its blob is there."""
    known = pointed(locked, store)
    return known if known and store.has(known.digest) else None


def pointed(locked: Locked, store: Store) -> Known | None:
    """What the pointer says, whether the blob is there or not. None as well for another member of the same archive,
    and where the publisher signs the image and no signature by one of the keys that are pinned now was checked."""
    try:
        pointer = unseal(_path(locked, store)) or {}
        known = Known(
            digest=Digest(algorithm="sha256", hex=pointer["sha256"]),
            pulled=datetime.fromisoformat(pointer["pulled_at"]),
            format=str(pointer.get("format", "")),
            evidence=decode(Evidence, pointer["evidence"]) if "evidence" in pointer else locked.evidence,
        )
        if pointer.get("packing", encode(PLAIN)) != encode(locked.packing):
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    trust = locked.signed
    if trust is None:  # the evidence is the checksum document's, which was proved just now
        return replace(known, evidence=locked.evidence)
    proved = known.evidence.kind == trust.kind and known.evidence.value in {*trust.fingerprints, trust.key}
    return known if proved else None


def point(locked: Locked, store: Store, known: Known) -> None:
    """Record which blob has the publisher's digest. The blob may be missing yet."""
    write_json(
        _path(locked, store),
        seal(
            {
                "sha256": known.digest.hex,
                "url": locked.url,
                "format": locked.format,
                "packing": encode(locked.packing),
                "pulled_at": known.pulled.isoformat(),
                "evidence": encode(known.evidence),
            }
        ),
    )


def _path(locked: Locked, store: Store) -> Path:
    return store.root / "locked" / f"{locked.digest.algorithm}-{locked.digest.hex}.json"
