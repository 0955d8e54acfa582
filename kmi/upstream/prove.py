"""A publisher's document, fetched and proved as the manifest demands, before anybody reads it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kmi.errors import UsageError, VerificationError
from kmi.host.http import Http
from kmi.model.spec import Trust
from kmi.model.stages import Evidence
from kmi.upstream import ed25519, signatures

_DOCUMENT, _SMALL = 8 << 20, 1 << 20
TLS_ONLY, OVER_IMAGE = "tls-only", "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """A document's signed content. ``signed_at`` is the signature's time, ``last_modified`` the server's word (UTC)."""

    content: bytes
    evidence: Evidence
    signed_at: datetime | None
    last_modified: datetime | None


def prove(url: str, trust: Trust, *, http: Http, keyrings: Path | None, scratch: Path) -> Proved:
    """Fetch the document at ``url`` and check its signature. A publisher who signs the image instead gives the
    document no proof but the transport. NetworkError, VerificationError."""
    document = http.get(url, limit=_DOCUMENT)
    _no_page(document.body, url)
    content, evidence, signed_at = document.body, Evidence(kind=TLS_ONLY), None
    if trust.over != OVER_IMAGE and trust.kind != TLS_ONLY:
        content, evidence, signed_at = _proved(document.body, url, trust, http, keyrings, scratch)
    return Proved(content=content, evidence=evidence, signed_at=signed_at, last_modified=document.last_modified)


def prove_image(file: Path, url: str, trust: Trust, *, http: Http, keyrings: Path | None, scratch: Path) -> Evidence:
    """Check the publisher's signature over the image itself, ``file``, which came from ``url``. NetworkError,
    VerificationError."""
    signature = _small(trust.signature or "", http)
    match trust.kind:
        case "minisign":
            name = unquote(urlsplit(url).path.rpartition("/")[2])
            value = ed25519.minisign(file, signature, trust.key or "", name=name, scratch=scratch, where=url).key
        case "signify":
            value = ed25519.signify(file, signature, trust.key or "", scratch=scratch, where=url).key
        case _:
            key = _key(trust, http, keyrings)
            value, _ = signatures.verify_file(file, signature, key, trust.fingerprints, scratch=scratch, where=url)
    return Evidence(kind=trust.kind, value=value)


def _proved(
    document: bytes, url: str, trust: Trust, http: Http, keyrings: Path | None, scratch: Path
) -> tuple[bytes, Evidence, datetime | None]:
    """What is signed in the document, by whom, and when."""
    signature = _small(trust.signature, http) if trust.signature else None
    if trust.kind == "openpgp":
        key = _key(trust, http, keyrings)
        signed = signatures.verify(document, signature, key, trust.fingerprints, scratch=scratch, where=url)
        return signed.content, Evidence(kind=trust.kind, value=signed.fingerprint), signed.made_at
    pinned = trust.key or ""
    if signature is None:
        content, found = ed25519.signify_embedded(document, pinned, scratch=scratch, where=url)
        return content, Evidence(kind=trust.kind, value=found.key), found.made_at
    message = scratch / "document"
    message.write_bytes(document)
    if trust.kind == "minisign":
        name = unquote(urlsplit(url).path.rpartition("/")[2])
        found = ed25519.minisign(message, signature, pinned, name=name, scratch=scratch, where=url)
    else:
        found = ed25519.signify(message, signature, pinned, scratch=scratch, where=url)
    return document, Evidence(kind=trust.kind, value=found.key), found.made_at


def _key(trust: Trust, http: Http, keyrings: Path | None) -> bytes:
    """The publisher's key file: from the site's folder where it has one, else from the publisher."""
    for fingerprint in trust.fingerprints if keyrings else ():
        path = Path(keyrings or "", f"{fingerprint}.asc")
        if path.exists():
            return path.read_bytes()
    if not trust.key_url:
        raise UsageError(
            "the publisher's key is nowhere to be found",
            expected=" or ".join(f"{fingerprint}.asc" for fingerprint in trust.fingerprints),
            where=keyrings,
            hint="name its URL in the manifest (key_url), or a folder of keys in kmi.toml (keyrings)",
        )
    return _small(trust.key_url, http)


def _small(url: str, http: Http) -> bytes:
    body = http.get(url, limit=_SMALL).body
    _no_page(body, url)
    return body


def _no_page(body: bytes, url: str) -> None:
    """gpgv and parsers would refuse a page too, but not in words that tell what to do."""
    if re.match(rb"\s*<(!doctype\s+html|html)", body[:1024], re.IGNORECASE):
        raise VerificationError(
            f"a web page came in place of {url.rpartition('/')[2]}",
            got=body.decode("utf-8", "replace").strip()[:60],
            where=url,
            hint="a server or proxy answered with a page of its own, perhaps a log-in page",
        )
