"""What a server answered, as the rooms see it; times are UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole answer and what the server says about it. ``url`` is the one that was asked for."""

    url: str
    body: bytes
    last_modified: datetime | None
    etag: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a server says about a file without sending it. ``size`` in bytes."""

    url: str
    size: int | None
    last_modified: datetime | None
    etag: str | None
