"""From validation errors to sentences: where, what, and what is allowed there; pure."""

from __future__ import annotations

import difflib
from typing import Any

from kmi.catalogue import schema
from kmi.catalogue.document import Document, Place, name
from kmi.documents import Fault, shown

LIMIT = 200
"""How many faults of one manifest are told; a file with more is no manifest, and finding words for each takes long."""


_WORDS = {
    "model_type": "keys with values are expected",
    "dict_type": "keys with values are expected",
    "tuple_type": "a list is expected",
    "string_type": "text is expected",
    "too_short": "a list that is not empty is expected",
    "string_too_short": "text that is not empty is expected",
    "string_too_long": "at most {max_length} characters are expected",
}


def of_schema(errors: list[dict[str, Any]], document: Document) -> list[Fault]:
    """One for each error, by line; beyond ``LIMIT`` without words, because ``first`` leaves those out."""
    placed = sorted((error for error in errors if not _echo(error)), key=lambda error: document.line(error["loc"]))
    told = [at(document, error["loc"], _say(error)) for error in placed[:LIMIT]]
    return told + [Fault(line=document.line(error["loc"]), message="") for error in placed[LIMIT:]]


def first(faults: list[Fault]) -> list[Fault]:
    """The first ``LIMIT`` by line, each once, and how many more there are."""
    placed = sorted(set(faults[:LIMIT])) if len(faults) <= LIMIT else sorted(faults)
    more = len(placed) - LIMIT
    rest = [Fault(line=placed[LIMIT].line, message=f"and {more} errors more from here on")] if more > 0 else []
    return placed[:LIMIT] + rest


def _echo(error: dict[str, Any]) -> bool:
    """pydantic counts a list's valid items, so one whose items are all wrong is also too short."""
    return bool(error["type"] == "too_short" and error["input"])


def at(document: Document, place: Place, message: str) -> Fault:
    return Fault(line=document.line(place), message=f"{_path(place)}: {message}")


def _say(error: dict[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(error['loc'][-1]), schema.known_keys(error['loc'][:-1]))}"
    if kind == "missing":
        return "missing"
    if kind in ("enum", "literal_error"):
        expected = context["expected"].replace("'", "").replace(" or ", ", ")
        return f"{shown(error['input'])} is not one of {expected}{did_you_mean(error['input'], expected.split(', '))}"
    if kind == "value_error":
        return f"{context['error']}, not {shown(error['input'])}"
    words = _WORDS[kind].format(**context) if kind in _WORDS else error["msg"]
    return f"{words}, not {shown(error['input'])}"


def did_you_mean(word: object, known: list[str]) -> str:
    """An end for the sentence: the nearest known word, or all of them if they are few."""
    close = difflib.get_close_matches(str(word)[:100], known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return ""


def _path(place: tuple[str | int, ...]) -> str:
    """``releases[0].tier``"""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{name(part)}" if text else name(part)
    return text or "manifest"
