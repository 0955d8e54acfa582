"""Debian's JSON document beside each cloud image: the build and a base64 digest without padding
(cloud.debian.org/v1alpha1, kind Upload). It names the image by its place below ``images/cloud/``."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from kmi.errors import VerificationError
from kmi.host.http import Http
from kmi.model.digest import Digest
from kmi.model.spec import CloudImage
from kmi.upstream import index, names
from kmi.upstream.located import Located, hexadecimal, released
from kmi.upstream.prove import Proved

_DIGEST, _VERSION, _FORMAT = (
    "cloud.debian.org/digest", "cloud.debian.org/version", "upload.cloud.debian.org/image-format",
)  # fmt: skip


def locate(image: CloudImage, *, http: Http, prove: Callable[[str], Proved]) -> Located:
    """The upload of the image's format. NetworkError; VerificationError if there is not exactly one, or it is another
    file than the manifest's URL says."""
    where = image.checksums
    document = prove(where)
    found = [row for row in index.rows(index.at(index.load(document.content, where), "items", where=where))
             if row.get("kind") == "Upload" and _label(row, _FORMAT) == image.format]  # fmt: skip
    if len(found) != 1:
        raise VerificationError(
            f"the index has {len(found)} uploads of format {image.format}", expected="one", where=where
        )
    build = index.text(found[0], "metadata", "labels", _VERSION, where=where)
    if names.match(names.BUILD, build) is None:
        raise VerificationError("the index's version is no build id", got=repr(build[:80]), where=where)
    url = names.fill(image.url, build)
    place = index.text(found[0], "data", "ref", where=where)
    if not url.endswith(f"/{place}"):
        raise VerificationError("the index is about another file", expected=url, got=place, where=where)
    head = http.head(url)
    return Located(
        url=url,
        digest=_digest(index.text(found[0], "metadata", "annotations", _DIGEST, where=where), image.algorithm, where),
        size=head.size,
        build=build,
        released_at=released(url, document, head),
        evidence=document.evidence,
    )


def _label(row: dict[str, Any], name: str) -> object:
    labels = (row.get("metadata") or {}).get("labels") if isinstance(row.get("metadata"), dict) else None
    return labels.get(name) if isinstance(labels, dict) else None


def _digest(text: str, algorithm: str, where: str) -> Digest:
    """From ``sha512:<base64 without padding>``."""
    given, _, value = text.partition(":")
    try:
        raw = base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except ValueError as error:
        raise VerificationError("the index's digest is no base64", got=text[:160], where=where) from error
    if given != algorithm:
        raise VerificationError("the index uses another algorithm", expected=algorithm, got=given[:20], where=where)
    return hexadecimal(algorithm, raw.hex(), where)
