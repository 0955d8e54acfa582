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


class Unmarked(ValueError):
    """A text has not exactly the marks between which it is generated."""


def renewed(head: str, before: str | None) -> str:
    """The page with another generated head; what people wrote in ``before`` stays as it is, to the byte. A page that is
    new has only the heading. Unmarked if the page that is there has no mark: all of it may be somebody's."""
    if before is None:
        return f"{head}{MARK}\n\n## Common uses\n"
    _, mark, written = before.partition(MARK)
    if not mark:
        raise Unmarked(f"the line {MARK} is expected once, where what people wrote begins")
    return f"{head}{mark}{written}"


def spliced(text: str, name: str, body: str) -> str:
    """The text with ``body`` in place of what lies between the comments ``<!-- name: … -->`` and ``<!-- end of name
    -->``, which stay. Unmarked if each of them is not there once, in this order."""
    begin, end = f"<!-- {name}: made by `make docs` -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    if (text.count(begin), text.count(end)) != (1, 1) or end not in rest:
        raise Unmarked(f"{begin} and, after it, {end} are expected once")
    return f"{before}{begin}\n{body}{end}{after}"
