"""Names with a build id in them, such as ``AlmaLinux-9-GenericCloud-{build}.x86_64.qcow2``; pure.

A template is no regular expression: manifests stay readable, and no document can make one slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

BUILD = "{build}"
_ID = r"[0-9][0-9A-Za-z._+-]{0,99}"
_LONGEST = 512
_PARTS = re.compile(r"[0-9]+|[^0-9]+")


def match(template: str, text: str) -> str | None:
    """The build id for which ``template`` is ``text``: a word of at most 100 characters that begins with a digit; the
    same one wherever ``{build}`` stands. None if there is none."""
    if len(text) > _LONGEST:
        return None
    first, *rest = (re.escape(part) for part in template.split(BUILD))
    if not rest:
        return None
    found = re.fullmatch(first + f"({_ID})" + r"\1".join(rest), text)
    return found[1] if found else None


def fill(template: str, build: str) -> str:
    """The template with its build id."""
    return template.replace(BUILD, build)


def newest(builds: Iterable[str]) -> str | None:
    """The highest build id: runs of digits compare as numbers, everything else as text (``9.10`` is after ``9.9``)."""
    return max(builds, key=_order, default=None)


def older(build: str, than: str) -> bool:
    """Whether ``build`` comes before ``than`` in that order."""
    return _order(build) < _order(than)


def _order(build: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in _PARTS.findall(build))
