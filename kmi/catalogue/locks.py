"""Whether a committed lock may stand for a look-up at the publisher: it has to fit what the manifest says today."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from kmi.catalogue import lockfile
from kmi.catalogue.lockfile import Entry
from kmi.errors import UsageError, VerificationError
from kmi.host.files import canonical
from kmi.model.codec import encode
from kmi.model.digest import Digest
from kmi.model.spec import CloudImage, ImageSpec
from kmi.model.stages import Locked

_TLS_ONLY, _IMAGE = "tls-only", "image"


def section(image: CloudImage) -> Digest:
    """The digest of what a manifest says of a download, values left out that are the default: a key that a later kmi
    adds to manifests makes no lock outdated."""
    return Digest(algorithm="sha256", hex=hashlib.sha256(canonical(_said(image))).hexdigest())


def _said(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        parts = ((entry, getattr(value, entry.name)) for entry in fields(value))
        return {entry.name: _said(part) for entry, part in parts if part != entry.default}
    return encode(value)


def find(directory: Path, spec: ImageSpec) -> Entry | None:
    """The image's entry in the lock beside its manifest; None if there is none. FaultsError if the lock cannot be
    read; UsageError and VerificationError as ``check``."""
    entry = lockfile.read(directory, spec.id.distro).get(spec.id) if spec.cloud_image else None
    if entry and spec.cloud_image:
        check(entry, spec.cloud_image)
    return entry


def check(entry: Entry, image: CloudImage) -> None:
    """UsageError if the manifest has changed since; VerificationError if the lock claims another proof or another place
    than the manifest allows, which no ``kmi lock`` writes."""
    locked = entry.locked
    if entry.manifest != section(image):
        raise UsageError(
            f"the lock of {locked.id} does not fit its manifest any more",
            expected="what the manifest says of the download as it was when the lock was written",
            where=entry.where,
            hint=f"`kmi lock {locked.id.distro}:{locked.id.release}` asks the publisher again",
        )
    for expected, got in _broken(locked, image):
        raise VerificationError(
            f"the lock of {locked.id} claims what its manifest does not allow",
            expected=expected,
            got=got,
            where=entry.where,
            hint="somebody has edited it: find out who; only `kmi lock` writes locks",
        )


def _broken(locked: Locked, image: CloudImage) -> list[tuple[object, object]]:
    """What is expected and what the lock has instead."""
    trust = image.trust
    later = trust.over == _IMAGE  # proved when the image is there, so nothing is yet
    kind = _TLS_ONLY if later else trust.kind
    pinned = {_TLS_ONLY: ("",), "openpgp": trust.fingerprints}.get(kind, (trust.key,))
    folder = image.url.partition("{")[0].rpartition("/")[0] + "/"
    signed = locked.signed and (locked.signed.kind, locked.signed.fingerprints, locked.signed.key)
    due = (trust.kind, trust.fingerprints, trust.key) if later else None
    rules = (
        (kind, locked.evidence.kind, kind == locked.evidence.kind),
        (" or ".join(map(str, pinned)), locked.evidence.value, locked.evidence.value in pinned),
        (due, signed, due == signed),
        (image.algorithm, locked.digest.algorithm, image.algorithm == locked.digest.algorithm),
        (image.format, locked.format, image.format == locked.format),
        (image.packing, locked.packing, image.packing == locked.packing),
        (f"{folder}…", locked.url, locked.url.startswith(folder)),
    )
    return [(expected, got) for expected, got, holds in rules if not holds]
