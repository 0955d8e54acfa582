"""From validation errors to sentences: where, what, and what is allowed there; pure."""

from __future__ import annotations

import difflib
from typing import Any

from kmi.catalogue import schema
from kmi.catalogue.document import Document, Fault

_SHOWN = 60


def of_schema(errors: list[dict[str, Any]], document: Document) -> list[Fault]:
    return [
        Fault(line=document.line(error["loc"]), message=f"{_path(error['loc'])}: {_say(error)}") for error in errors
    ]


def at(document: Document, place: tuple[str | int, ...], message: str) -> Fault:
    return Fault(line=document.line(place), message=f"{_path(place)}: {message}")


def _say(error: dict[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key{did_you_mean(str(error['loc'][-1]), schema.known_keys(error['loc'][:-1]))}"
    if kind == "missing":
        return "missing"
    if kind in ("enum", "literal_error"):
        expected = context["expected"].replace("'", "").replace(" or ", ", ")
        return f"{_short(error['input'])} is not one of {expected}{did_you_mean(error['input'], expected.split(', '))}"
    if kind == "value_error":
        return f"{context['error']}, not {_short(error['input'])}"
    return f"{error['msg']}, not {_short(error['input'])}"


def did_you_mean(word: object, known: list[str]) -> str:
    """An end for the sentence: the nearest known word, or all of them if they are few."""
    close = difflib.get_close_matches(str(word), known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _path(place: tuple[str | int, ...]) -> str:
    """``releases[0].tier``"""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "manifest"
