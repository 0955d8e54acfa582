"""A disk with a checksum document beside it, under a fixed or a moving name."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from kmi.host.http import Http
from kmi.model.digest import Digest
from kmi.model.spec import CloudImage
from kmi.upstream import checksums, names
from kmi.upstream.builds.choice import newest
from kmi.upstream.located import Located, released
from kmi.upstream.prove import Proved

SAME_DIGEST = "same-digest"


def locate(image: CloudImage, *, http: Http, prove: Callable[[str], Proved]) -> Located:
    """Read the digest from the proved document, and where the name moves, the name that does not: another line with
    the same digest. NetworkError, VerificationError."""
    document = prove(image.checksums)
    digest = checksums.find(
        document.content, _name(image.url), image.algorithm, shape=image.shape, where=image.checksums
    )
    url, build = _fixed(image, document.content, digest)
    head = http.head(url)
    return Located(
        url=url,
        digest=digest,
        size=head.size,
        build=build,
        released_at=released(url, document, head),
        evidence=document.evidence,
    )


def _fixed(image: CloudImage, document: bytes, digest: Digest) -> tuple[str, str | None]:
    """The URL that goes on naming this very file, and its build."""
    lookup = image.build
    if lookup is None or lookup.kind != SAME_DIGEST:
        return image.url, None
    same = checksums.named(document, digest, where=image.checksums)
    build = newest(lookup, [name for name in same if name != _name(image.url)])
    return image.url.rpartition("/")[0] + "/" + names.fill(lookup.name, build), build


def _name(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])
