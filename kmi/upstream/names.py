"""Names with a build id in them, such as ``AlmaLinux-9-GenericCloud-{build}.x86_64.qcow2``; pure.

A template is no regular expression: manifests stay readable, and no document can make one slow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

BUILD = "{build}"
_ID = r"[0-9][0-9A-Za-z._+-]{0,99}"
LONGEST = 512
"""Characters: no longer name has a form."""
_PARTS = re.compile(r"[0-9]+|[^0-9]+")


def match(template: str, text: str) -> str | None:
    """The build id for which ``template`` is ``text``: a word of at most 100 characters that begins with a digit; the
    same one wherever ``{build}`` stands. None if there is none."""
    if len(text) > LONGEST:
        return None
    first, *rest = (re.escape(part) for part in template.split(BUILD))
    if not rest:
        return None
    found = re.fullmatch(first + f"({_ID})" + r"\1".join(rest), text)
    return found[1] if found else None


def fill(template: str, build: str) -> str:
    """The template with its build id."""
    return template.replace(BUILD, build)


def word(build: str) -> bool:
    """Whether a build id that an index names, and not a template, is one word too: of at most 100 characters, beginning
    with a letter or a digit."""
    return re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,99}", build) is not None


def newest(builds: Iterable[str]) -> str | None:
    """The highest build id: runs of digits compare as numbers, everything else as text (``9.10`` is after ``9.9``)."""
    return max(builds, key=_order, default=None)


def older(build: str, than: str) -> bool:
    """Whether ``build`` comes before ``than`` in that order."""
    return _order(build) < _order(than)


def _order(build: str) -> tuple[tuple[int, int, str], ...]:
    """Numbers compare by length and digits: int() has a limit, and takes digits of other alphabets."""
    return tuple((1, len(digits), digits) if part[0] in "0123456789" else (0, 0, part)
                 for part in _PARTS.findall(build) for digits in [part.lstrip("0")])  # fmt: skip
