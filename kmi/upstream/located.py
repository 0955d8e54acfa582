"""What a source module hands back: where the disk is and what the publisher says about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

from kmi.errors import VerificationError
from kmi.host.answers import Head
from kmi.model.digest import Digest
from kmi.model.stages import Evidence
from kmi.upstream.prove import Proved

FIRST = datetime(1990, 1, 1, tzinfo=UTC)
"""No release is older."""
_PLAIN = re.compile(r"[!-~]+")
"""Visible characters of ASCII."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A concrete file with its proved digest. ``build`` is the publisher's own build id, None where it gives none;
    ``size`` is in bytes, ``released_at`` UTC. ``content`` is the digest of what is in a compressed file, where the
    publisher gives that too; ``signature`` the URL of a detached signature that an index names."""

    url: str
    digest: Digest
    size: int | None
    build: str | None
    released_at: datetime
    evidence: Evidence
    content: Digest | None = None
    signature: str | None = None


def released(url: str, document: Proved, head: Head) -> datetime:
    """The signature's time; an unsigned image is dated by the server, as is the document where the server dates no
    image. VerificationError if nothing has a date."""
    found = document.signed_at or head.last_modified or document.last_modified
    if found is None:
        raise VerificationError(
            "the publisher's image has no date", expected="a signature's time or Last-Modified", got="neither",
            where=url,
        )  # fmt: skip
    return found


def possible(moment: datetime) -> bool:
    """Whether a release can have this date."""
    return FIRST <= moment <= datetime.now(UTC) + timedelta(days=1)


def below(prefix: str, url: str, where: str) -> str:
    """The URL that an index gives, if it begins as the manifest says. VerificationError otherwise: an index that is
    not signed sends nobody anywhere else."""
    rest = unquote(url[len(prefix) :])
    climbs = ".." in rest.replace("\\", "/").split("/") or (rest and not prefix.endswith("/"))
    if not url.startswith(prefix) or climbs or not _PLAIN.fullmatch(url):
        raise VerificationError(
            "the publisher's index names a file elsewhere", expected=f"{prefix}…", got=url[:200], where=where
        )
    return url


def hexadecimal(algorithm: str, value: str, where: str) -> Digest:
    """VerificationError if the value has not the algorithm's form."""
    try:
        return Digest(algorithm=algorithm, hex=value.lower())
    except ValueError as error:
        raise VerificationError(f"the index gives no {algorithm}", got=value[:160], where=where) from error
