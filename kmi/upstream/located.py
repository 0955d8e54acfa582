"""What a source module hands back: where the disk is and what the publisher says about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kmi.model.digest import Digest
from kmi.model.stages import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A concrete file with its proved digest. ``build`` is the publisher's own build id, None where it gives none;
    ``size`` is in bytes, ``released_at`` UTC."""

    url: str
    digest: Digest
    size: int | None
    build: str | None
    released_at: datetime
    evidence: Evidence
