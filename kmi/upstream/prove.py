"""A publisher's document, fetched and proved as the manifest demands, before anybody reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kmi.errors import UsageError
from kmi.host.http import Http
from kmi.model.spec import Trust
from kmi.model.stages import Evidence
from kmi.upstream import signatures

_DOCUMENT, _SMALL = 8 << 20, 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """A document's signed content. ``signed_at`` is the signature's time, ``last_modified`` the server's word (UTC)."""

    content: bytes
    evidence: Evidence
    signed_at: datetime | None
    last_modified: datetime | None


def prove(url: str, trust: Trust, *, http: Http, keyrings: Path | None, scratch: Path) -> Proved:
    """Fetch the document at ``url`` and check its signature. NetworkError, VerificationError."""
    document = http.get(url, limit=_DOCUMENT)
    if trust.kind != "openpgp":
        return Proved(
            content=document.body,
            evidence=Evidence(kind=trust.kind),
            signed_at=None,
            last_modified=document.last_modified,
        )
    signature = http.get(trust.signature, limit=_SMALL).body if trust.signature else None
    signed = signatures.verify(
        document.body, signature, _key(trust, http, keyrings), trust.fingerprints, scratch=scratch, where=url
    )
    return Proved(
        content=signed.content,
        evidence=Evidence(kind="openpgp", value=signed.fingerprint),
        signed_at=signed.made_at,
        last_modified=document.last_modified,
    )


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
    return http.get(trust.key_url, limit=_SMALL).body
