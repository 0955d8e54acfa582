"""A disk with a checksum document beside it, under a fixed or a moving name."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from kmi.errors import VerificationError
from kmi.host.http import Http
from kmi.model.spec import CloudImage
from kmi.upstream import checksums
from kmi.upstream.located import Located
from kmi.upstream.prove import Proved


def locate(image: CloudImage, *, http: Http, prove: Callable[[str], Proved]) -> Located:
    """Read the digest from the proved document. The release date is the signature's time; an unsigned image is dated
    by the server, as is the document where the server dates no image. VerificationError if nothing has a date."""
    document = prove(image.checksums)
    name = unquote(urlsplit(image.url).path.rpartition("/")[2])
    digest = checksums.find(document.content, name, image.algorithm, where=image.checksums)
    head = http.head(image.url)
    released = document.signed_at or head.last_modified or document.last_modified
    if released is None:
        raise VerificationError(
            "the publisher's image has no date",
            expected="a signature's time or Last-Modified",
            got="neither",
            where=image.url,
        )
    return Located(
        url=image.url, digest=digest, size=head.size, build=None, released_at=released, evidence=document.evidence
    )
