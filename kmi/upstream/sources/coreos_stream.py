"""CoreOS stream metadata (coreos/stream-metadata-go): architectures, artifacts, formats. Fedora CoreOS and RHCOS."""

from __future__ import annotations

from collections.abc import Callable

from kmi.host.http import Http
from kmi.model.spec import CloudImage
from kmi.upstream import index
from kmi.upstream.located import Located, below, hexadecimal, released
from kmi.upstream.prove import Proved


def locate(image: CloudImage, *, http: Http, prove: Callable[[str], Proved]) -> Located:
    """The disk of the item ``<arch>/<artifact>/<format>``, such as ``x86_64/qemu/qcow2.xz``. NetworkError;
    VerificationError if the index lacks it or names a file elsewhere."""
    where = image.checksums
    document = prove(where)
    arch, artifact, form = [*(image.item or "").split("/", 2), "", ""][:3]
    path = ("architectures", arch, "artifacts", artifact)
    stream = index.load(document.content, where)
    disk = index.at(stream, *path, "formats", form, "disk", where=where)
    url = below(image.url, index.text(disk, "location", where=where), where)
    head = http.head(url)
    content, signature = (
        index.text(disk, name, where=where) if disk.get(name) is not None else None
        for name in ("uncompressed-sha256", "signature")
    )
    return Located(
        url=url,
        digest=hexadecimal("sha256", index.text(disk, "sha256", where=where), where),
        size=head.size,
        build=index.text(stream, *path, "release", where=where),
        released_at=released(url, document, head),
        evidence=document.evidence,
        content=hexadecimal("sha256", content, where) if content else None,
        signature=below(image.url, signature, where) if signature else None,
    )
