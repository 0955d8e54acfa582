"""Tables for GitHub's job summary: GitHub Flavored Markdown in the file that ``GITHUB_STEP_SUMMARY`` names."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path

from kmi.host.redact import redact
from kmi.host.ui import plain

_LONGEST = 200
_SPECIAL = re.compile(r"([\\`*_\[\]|~#@])")


def append(file: Path, heading: str, table: Sequence[Sequence[str]]) -> None:
    """Add a heading and a table, the first row being its head. What publishers say is shown, and cannot format."""
    head, *rows = table
    lines = [f"### {heading}", "", _row(head), _row(["---"] * len(head), raw=True), *map(_row, rows), ""]
    with file.open("a", encoding="utf-8") as opened:
        opened.write("\n".join(lines) + "\n")


def _row(cells: Sequence[str], *, raw: bool = False) -> str:
    return "| " + " | ".join(cell if raw else _cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    line = plain(redact(" ".join(text.split())))
    short = line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
    return _SPECIAL.sub(r"\\\1", html.escape(short, quote=False))
