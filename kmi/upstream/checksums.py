"""Checksum documents: GNU coreutils lines (``<hex>  name``), BSD lines (``SHA256 (name) = <hex>``), sections of
them, and bare digests; pure and strict.

A name counts by its base name, because some publishers write the path. Exactly one line must name the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kmi.errors import VerificationError
from kmi.model.digest import HEX_LENGTHS, Digest

_GNU = re.compile(r"([0-9A-Fa-f]+) [ *]?(\S.*)")
_BSD = re.compile(r"([A-Z0-9-]+) ?\((\S.*)\) ?= ?([0-9A-Fa-f]+)")
_HEADING = re.compile(r"# ([A-Z0-9]+) HASH")
"""Gentoo's and Flatcar's DIGESTS files have a section for each algorithm."""
_SIZE = re.compile(r"\S+: [0-9]+ bytes")
"""Rocky 9.0 writes the size of a file without the ``#`` that others put before it."""


def find(document: bytes, name: str, algorithm: str, *, where: str, shape: str = "lines") -> Digest:
    """The digest that ``document`` gives for the file ``name``.

    ``shape`` is lines (of any of the forms), sectioned (``# SHA512 HASH`` above the lines of one algorithm) or bare
    (nothing but one digest). VerificationError unless exactly one line names the file and its value has the
    algorithm's length; also for a line of no known form and for anything that is not text, such as an HTML page with
    status 200.
    """
    if shape == "bare":
        return _bare(document, algorithm, where)
    lines = _section(_lines(document, where), algorithm, where) if shape == "sectioned" else _lines(document, where)
    found = [
        (number, value.lower())
        for number, (given, path, value) in _entries(lines, where)
        if path.rpartition("/")[2] == name and given in ("", algorithm)
    ]
    if len(found) != 1:
        raise VerificationError(
            f"the checksum document names {name} {'more than once' if found else 'nowhere'}",
            expected="exactly one line",
            got=f"lines {', '.join(str(number) for number, _ in found[:9])}" if found else f"{len(lines)} other lines",
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


def named(document: bytes, digest: Digest, *, where: str) -> list[str]:
    """The base names of all files that have this digest, in the document's order. VerificationError as ``find``."""
    return [
        path.rpartition("/")[2]
        for _, (given, path, value) in _entries(_lines(document, where), where)
        if value.lower() == digest.hex and given in ("", digest.algorithm)
    ]


def _entries(lines: list[str], where: str) -> Iterator[tuple[int, tuple[str, str, str]]]:
    for number, line in enumerate(lines, start=1):
        if line and (entry := _entry(line, f"{where}, line {number}")):
            yield number, entry


def _bare(document: bytes, algorithm: str, where: str) -> Digest:
    lines = [line.strip() for line in _lines(document, where) if line.strip()]
    if len(lines) != 1 or not re.fullmatch(f"[0-9A-Fa-f]{{{HEX_LENGTHS[algorithm]}}}", lines[0]):
        raise VerificationError(
            f"the document is not one {algorithm}",
            expected=f"{HEX_LENGTHS[algorithm]} hexadecimal digits and nothing else",
            got=f"{len(lines)} lines" if len(lines) != 1 else repr(lines[0][:160]),
            where=where,
        )
    return Digest(algorithm=algorithm, hex=lines[0].lower())


def _section(lines: list[str], algorithm: str, where: str) -> list[str]:
    """The lines of one algorithm, all others blanked so that line numbers stay right."""
    current, kept, headings = "", [], 0
    for line in lines:
        if heading := _HEADING.fullmatch(line):
            current = heading[1].lower()
            headings += current == algorithm
        kept.append(line if current == algorithm else "")
    if headings != 1:
        raise VerificationError(
            f"the checksum document has {headings} sections for {algorithm}",
            expected=f"one, headed # {algorithm.upper()} HASH",
            where=where,
        )
    return kept


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
