"""Checksum documents: GNU coreutils lines (``<hex>  name``), BSD lines (``SHA256 (name) = <hex>``), sections of
them, and bare digests; pure and strict.

A name counts by its base name, because some publishers write the path. Exactly one line must name the file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator

from kmi.errors import VerificationError
from kmi.model.digest import HEX_LENGTHS, Digest

_GNU = re.compile(r"([0-9A-Fa-f]+) [ *]?(\S.*)")
_BSD = re.compile(r"([A-Z0-9-]+) ?\((\S.*)\) ?= ?([0-9A-Fa-f]+)")
_HEADING = re.compile(r"# ([A-Z0-9]+) HASH")
"""Gentoo's and Flatcar's DIGESTS files have a section for each algorithm."""
_SIZE = re.compile(r"\S+: [0-9]+ bytes")
"""Rocky 9.0 writes the size of a file without the ``#`` that others put before it."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LIMIT = 4 << 20
"""Bytes: the largest that publishers have are some hundred kilobytes."""

Lines = Iterable[tuple[int, str]]
"""Each with its number, from 1."""


def find(document: bytes, name: str, algorithm: str, *, where: str, shape: str = "lines") -> Digest:
    """The digest that ``document`` gives for the file ``name``.

    ``shape`` is lines (of any of the forms), sectioned (``# SHA512 HASH`` above the lines of one algorithm) or bare
    (nothing but one digest). VerificationError unless exactly one line names the file and its value has the
    algorithm's length; also for a line of no known form and for anything that is not text, such as an HTML page with
    status 200.
    """
    if shape == "bare":
        return _bare(document, algorithm, where)
    lines = _lines(document, where)
    if shape == "sectioned":
        lines = _section(lines, algorithm, where)
    found, others = [], 0
    for number, (given, path, value) in _entries(lines, where):
        if path.rpartition("/")[2] == name and given in ("", algorithm):
            found.append((number, value.lower()))
        else:
            others += 1
    if len(found) != 1:
        raise VerificationError(
            f"the checksum document names {name} {'more than once' if found else 'nowhere'}",
            expected="exactly one line",
            got=f"lines {', '.join(str(number) for number, _ in found[:9])}" if found else f"{others} other files",
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


def _entries(lines: Lines, where: str) -> Iterator[tuple[int, tuple[str, str, str]]]:
    for number, line in lines:
        if line and (entry := _entry(line, f"{where}, line {number}")):
            yield number, entry


def _bare(document: bytes, algorithm: str, where: str) -> Digest:
    lines = [line.strip() for _, line in _lines(document, where) if line.strip()]
    if len(lines) != 1 or not re.fullmatch(f"[0-9A-Fa-f]{{{HEX_LENGTHS[algorithm]}}}", lines[0]):
        raise VerificationError(
            f"the document is not one {algorithm}",
            expected=f"{HEX_LENGTHS[algorithm]} hexadecimal digits and nothing else",
            got=f"{len(lines)} lines" if len(lines) != 1 else repr(lines[0][:160]),
            where=where,
        )
    return Digest(algorithm=algorithm, hex=lines[0].lower())


def _section(lines: Lines, algorithm: str, where: str) -> Iterator[tuple[int, str]]:
    """The lines of one algorithm."""
    current, headings = "", 0
    for number, line in lines:
        if heading := _HEADING.fullmatch(line):
            current = heading[1].lower()
            headings += current == algorithm
        if current == algorithm:
            yield number, line
    if headings != 1:
        raise VerificationError(
            f"the checksum document has {headings} sections for {algorithm}",
            expected=f"one, headed # {algorithm.upper()} HASH",
            where=where,
        )


def _lines(document: bytes, where: str) -> Iterator[tuple[int, str]]:
    """Split at LF or CRLF only: str.splitlines also splits at separators that a file name may hold."""
    if len(document) > _LIMIT:
        limit = f"at most {_LIMIT} bytes"
        raise VerificationError(
            "the checksum document is too large", expected=limit, got=f"{len(document)} bytes", where=where
        )
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise VerificationError("the checksum document is not text", got=error, where=where) from error
    if re.match(r"\s*<(!doctype|html|\?xml)", text[:1024], re.IGNORECASE):
        raise VerificationError(
            "the checksum document is a web page",
            expected="lines of checksums",
            got=repr(text[:1024].strip()[:60]),
            where=where,
            hint="a server or proxy answered with a page of its own, perhaps a log-in page",
        )
    for number, line in enumerate(io.StringIO(text, newline="\n"), start=1):
        yield number, line.removesuffix("\n").removesuffix("\r")


def _entry(line: str, where: str) -> tuple[str, str, str] | None:
    """Algorithm (empty if the line does not say), name and hex value; None for a line that holds no checksum."""
    if _CONTROL.search(line):
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
