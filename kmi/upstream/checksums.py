"""Checksum documents: GNU coreutils lines (``<hex>  name``) and BSD lines (``SHA256 (name) = <hex>``); pure and strict.

A name counts by its base name, because some publishers write the path. Exactly one line must name the file.
"""

from __future__ import annotations

import re

from kmi.errors import VerificationError
from kmi.model.digest import HEX_LENGTHS, Digest

_GNU = re.compile(r"([0-9A-Fa-f]+) [ *]?(\S.*)")
_BSD = re.compile(r"([A-Z0-9-]+) ?\((\S.*)\) ?= ?([0-9A-Fa-f]+)")
_SIZE = re.compile(r"\S+: [0-9]+ bytes")
"""Rocky 9.0 writes the size of a file without the ``#`` that others put before it."""


def find(document: bytes, name: str, algorithm: str, *, where: str) -> Digest:
    """The digest that ``document`` gives for the file ``name``.

    VerificationError unless exactly one line names it and its value has the algorithm's length; also for a line of no
    known shape and for anything that is not text, such as an HTML page with status 200.
    """
    lines = _lines(document, where)
    found = []
    for number, line in enumerate(lines, start=1):
        entry = _entry(line, f"{where}, line {number}")
        if entry and entry[1].rpartition("/")[2] == name and entry[0] in ("", algorithm):
            found.append((number, entry[2].lower()))
    if len(found) != 1:
        raise VerificationError(
            f"the checksum document names {name} {'more than once' if found else 'nowhere'}",
            expected="exactly one line",
            got=f"lines {', '.join(str(number) for number, _ in found)}" if found else f"{len(lines)} lines without it",
            where=where,
        )
    number, value = found[0]
    if len(value) != HEX_LENGTHS[algorithm]:
        raise VerificationError(
            f"the checksum of {name} is no {algorithm}",
            expected=f"{HEX_LENGTHS[algorithm]} hexadecimal digits",
            got=f"{len(value)}",
            where=f"{where}, line {number}",
        )
    return Digest(algorithm=algorithm, hex=value)


def _lines(document: bytes, where: str) -> list[str]:
    """Split at LF or CRLF only: str.splitlines also splits at separators that a file name may hold."""
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise VerificationError("the checksum document is not text", got=error, where=where) from error
    if re.match(r"\s*<(!doctype|html|\?xml)", text[:1024], re.IGNORECASE):
        raise VerificationError(
            "the checksum document is a web page",
            expected="lines of checksums",
            got=text.strip()[:60],
            where=where,
            hint="a server or proxy answered with a page of its own, perhaps a log-in page",
        )
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _entry(line: str, where: str) -> tuple[str, str, str] | None:
    """Algorithm (empty if the line does not say), name and hex value; None for a line that holds no checksum."""
    if any(ord(char) < 32 or ord(char) == 127 for char in line):
        raise VerificationError("a control character in the checksum document", got=repr(line[:160]), where=where)
    if not line.strip() or line.startswith("#") or _SIZE.fullmatch(line):
        return None
    if match := _BSD.fullmatch(line):
        return match[1].lower().replace("-", ""), match[2], match[3]
    if match := _GNU.fullmatch(line):
        return "", match[2], match[1]
    raise VerificationError(
        "a line of the checksum document has no known shape",
        expected="<hex>  name, or SHA256 (name) = <hex>",
        got=repr(line[:160]),
        where=where,
    )
