"""What a server answered, as the rooms see it; times are UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole answer, and the date that the server gives it."""

    body: bytes
    last_modified: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a server says about a file without sending it. ``size`` in bytes; ``at`` is the URL that answered in the
    end, after all redirects."""

    size: int | None
    last_modified: datetime | None
    at: str
