"""An image's page, ``docs/images/<distro>.md``: a generated head, and below the mark what people wrote; pure."""

from __future__ import annotations

from dataclasses import dataclass

MARK = "<!-- Written by people from here on; generation never touches it. -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """``name`` is the file's, empty if there is none; ``try_me`` and ``uses`` say whether it has those parts."""

    name: str = ""
    try_me: bool = False
    uses: bool = False


def read(name: str, text: str) -> Page:
    """What a page holds."""
    head, _, written = text.partition(MARK)
    body = [line for line in written.splitlines() if line.strip() and not line.startswith("#")]
    return Page(name=name, try_me="## Try me" in head, uses=len(body) > 1)
