"""The form of a lock, for pydantic: what ``kmi.model.codec`` writes of a ``Locked``, and nothing looser."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from kmi.catalogue import images
from kmi.catalogue.fields import DistroName, Form, Line, Strict, Url, Word
from kmi.model.digest import Digest
from kmi.model.platform import Arch


def _digest(text: str) -> str:
    return str(Digest.parse(text))


def _stamp(text: str) -> str:
    datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 -- only its form is looked at
    return text


_Digest = Annotated[str, Field(max_length=200), AfterValidator(_digest)]
_Optional = Annotated[str, Field(max_length=200)]


class _Evidence(Strict):
    kind: Literal["openpgp", "minisign", "signify", "tls-only"]
    value: Annotated[str, Form("[A-Za-z0-9+/=]*", "a fingerprint or a public key")]


class _Packing(Strict):
    compression: Literal["none", "gz", "xz", "bz2", "zst"]
    archive: Literal["tar", ""]
    member: _Optional
    digest_of: Literal["file", "content"]


class Image(Strict):
    """One image: ``kmi.model.stages.Locked`` without its id, the digest of what the manifest said, and the seal."""

    build: Line
    checksums: Url
    content: _Digest | None
    digest: _Digest
    evidence: _Evidence
    format: Literal["qcow2", "raw", "vmdk"]
    manifest: _Digest
    packing: _Packing
    released_at: Annotated[
        str, Form("[0-9TZ:-]{20}", "a time such as 2026-07-25T04:16:54Z", 20), AfterValidator(_stamp)
    ]
    seal: Annotated[str, Form("[0-9a-f]{64}", "a SHA-256", 64)]
    signed: images.Trust | None
    size: Annotated[int, Field(strict=True, gt=0, lt=1 << 50)] | None
    url: Url


class File(Strict):
    """One distro's lock: ``images`` by release and architecture."""

    lock: Annotated[int, Field(strict=True, ge=1, le=1)]
    distro: DistroName
    images: dict[Word, dict[Arch, Image]]


def validate(value: object) -> tuple[File | None, list[dict[str, object]]]:
    """The lock, or every error as pydantic tells it."""
    try:
        return File.model_validate(value), []
    except ValidationError as error:
        return None, [dict(one) for one in error.errors(include_url=False)]
