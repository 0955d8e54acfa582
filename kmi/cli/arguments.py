"""Types of arguments (``type=`` of argparse): what every option of the kind takes. ArgumentTypeError in words."""

from __future__ import annotations

import argparse
import re

from kmi.documents import shown

_MESSAGE = 500
_STAMP = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:+-]{0,39}")


def count(text: str) -> int:
    """A whole number from 1 to 99."""
    if re.fullmatch(r"[1-9][0-9]?", text) is None:
        raise argparse.ArgumentTypeError(f"a number from 1 to 99 is expected, not {shown(text)}")
    return int(text)


def stamp(text: str) -> str:
    """The name of a point in time, such as ``2026-W47``: it stands in labels and stage keys."""
    if _STAMP.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"a date such as 2026-W47 or 2026-11-20 is expected, not {shown(text)}")
    return text


def one_line(message: str) -> str:
    """argparse repeats arguments as they are: escape what would not be one printable line, and cut what is long."""
    plain = message if message.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
    return plain if len(plain) <= _MESSAGE else plain[:_MESSAGE] + "…"
