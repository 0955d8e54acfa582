"""Oracle's template index: ``base_url`` and, for each kind of image, its name and SHA-256."""

from __future__ import annotations

from collections.abc import Callable

from kmi.host.http import Http
from kmi.model.spec import CloudImage
from kmi.upstream import index
from kmi.upstream.located import Located, below, hexadecimal, released
from kmi.upstream.prove import Proved


def locate(image: CloudImage, *, http: Http, prove: Callable[[str], Proved]) -> Located:
    """The image of the item, such as ``kvm``; its file name without the ending is the build. NetworkError;
    VerificationError if the index lacks it or names a file elsewhere."""
    where, item = image.checksums, image.item or ""
    document = prove(where)
    template = index.load(document.content, where)
    base = index.text(template, "base_url", where=where).rstrip("/")
    name = index.text(template, item, "image", where=where)
    url = below(image.url, f"{base}/{name.lstrip('/')}" if "://" not in name else name, where)
    head = http.head(url)
    return Located(
        url=url,
        digest=hexadecimal("sha256", index.text(template, item, "sha256", where=where), where),
        size=head.size,
        build=name.rpartition("/")[2].removesuffix(f".{image.format}"),
        released_at=released(url, document, head),
        evidence=document.evidence,
    )
