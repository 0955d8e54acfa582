"""JSON indexes of publishers, read with suspicion: nothing in them is of a type before it was looked at; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kmi.errors import VerificationError

LIMIT = 16 << 20
"""Bytes of a document. As Python's objects it may take thirty times as much."""


def load(document: bytes, where: str) -> Any:
    """The value of a JSON document. VerificationError for anything else, keys given twice, endless nesting, and more
    than ``LIMIT``."""
    if len(document) > LIMIT:
        limit = f"at most {LIMIT} bytes"
        raise VerificationError(
            "the publisher's index is too large", expected=limit, got=f"{len(document)} bytes", where=where
        )
    try:
        return json.loads(document, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise VerificationError(
            "the publisher's index cannot be read", expected="JSON", got=str(error)[:200], where=where
        ) from error


def at(value: Any, *path: str, where: str) -> Any:
    """The value at a path of keys. VerificationError with the path if it is not there."""
    for number, key in enumerate(path, start=1):
        if not isinstance(value, dict) or key not in value:
            raise VerificationError(
                "the publisher's index has another shape", expected=" / ".join(path[:number]), got="no such key",
                where=where,
            )  # fmt: skip
        value = value[key]
    return value


def text(value: Any, *path: str, where: str) -> str:
    """The text at a path of keys: one line of at most 2,000 printable characters."""
    found = at(value, *path, where=where)
    if not isinstance(found, str) or not found.isprintable() or not 0 < len(found) <= 2000:
        raise VerificationError(
            "the publisher's index has another shape", expected=f"a line of text at {' / '.join(path)}",
            got=repr(found[:80]) if isinstance(found, str) else type(found).__name__, where=where,
        )  # fmt: skip
    return found


def rows(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a list; nothing if it is no list."""
    return (row for row in value if isinstance(row, dict)) if isinstance(value, list) else iter(())


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found
