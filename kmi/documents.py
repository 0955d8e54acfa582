"""Small texts that people write (manifests, licences, ``kmi.toml``), read with care: a regular file, no larger than
expected, UTF-8, and nothing in it that a reader does not see.

Characters that cannot be seen are refused as they stand in the file, comments included: a line that an editor shows in
another order than a parser reads it ("Trojan Source", CVE-2021-42574) passes every review.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

_SHOWN = 60
_SEEN = "\n\t"
_LONE_CR = re.compile(r"\r(?!\n)")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Fault:
    """Something wrong in a text, and the line (from 1) it is on."""

    line: int
    message: str


class Unreadable(Exception):
    """A text that cannot be looked at any further, and why."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.fault = Fault(line=line, message=message)


def contents(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes. Unreadable for anything else; never waits for a pipe, and
    never reads more than the limit."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(handle, "rb") as file:
            about = os.fstat(handle)
            if not stat.S_ISREG(about.st_mode):
                raise Unreadable("not a regular file")
            data = b"" if about.st_size > limit else file.read(limit + 1)
            if about.st_size > limit or len(data) > limit:
                raise Unreadable(f"larger than the {limit >> 10} KiB that are expected at most")
            return data
    except IsADirectoryError:
        raise Unreadable("a folder where a file is expected") from None
    except (OSError, ValueError) as error:
        raise Unreadable(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def text(data: bytes) -> str:
    """The text. Unreadable for what is not UTF-8, or begins with a byte order mark."""
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("begins with a byte order mark; UTF-8 without one is expected")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable("not UTF-8", line=data.count(b"\n", 0, error.start) + 1) from None


def unseen(found: str) -> list[Fault]:
    """A fault for each line that holds a character which cannot be seen. Line ends are LF, or CR and LF."""
    if visible(found):
        return []
    faults = []
    for number, line in enumerate(found.replace("\r\n", "\n").split("\n"), 1):
        wrong = dict.fromkeys(char for char in line if not (char.isprintable() or char in _SEEN))
        if wrong:
            names = ", ".join(f"U+{ord(char):04X}" for char in list(wrong)[:4])
            faults.append(Fault(line=number, message=f"a character that cannot be seen: {names}"))
    return faults


def visible(found: str) -> bool:
    """Whether nothing but printable characters, tabs and line ends is in it (``str.isprintable``: no control, format or
    bidirectional character, no surrogate, no space but the common one)."""
    return found.translate({ord(char): None for char in _SEEN}).replace("\r", "").isprintable() and not (
        "\r" in found and _LONE_CR.search(found)
    )


def place(path: Path) -> str:
    """As people and annotations want it: relative to the working directory where it lies below, and printable."""
    relative = os.path.relpath(path)
    found = str(path) if relative.startswith("..") else relative
    return found if found.isprintable() else shown(found)


def shown(value: object) -> str:
    """Any text for a message: quoted, escaped, on one line, and short."""
    try:
        quoted = repr(value if not isinstance(value, str) else value[: _SHOWN * 2])
    except RecursionError:
        quoted = f"a {type(value).__name__}"
    return quoted if len(quoted) <= _SHOWN else quoted[:_SHOWN] + "…"
