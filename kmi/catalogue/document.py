"""Strict YAML: text, lists and mappings only, every value a string, and the line of everything.

Strings, because a reader that guesses types makes ``24.10`` a number (24.1) and ``no`` a boolean. Anchors, aliases,
tags, directives, duplicate keys and second documents are refused: none is needed, each has surprised somebody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import yaml

from kmi import documents
from kmi.documents import Fault, Unreadable, shown

SIZE_LIMIT = 256 << 10
"""Bytes in a manifest."""

_DEPTH_LIMIT = 16
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)

Place = tuple[str | int, ...]
"""The way from the document's root to a value: keys and list positions."""


@dataclass(slots=True, kw_only=True)
class Document:
    """What was read. ``lines`` knows the line of each place; ``faults`` those that did not end the reading."""

    value: object = None
    lines: dict[Place, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, place: Place) -> int:
        """The line of the deepest part of ``place`` that is there (a missing key is told at its mapping); parts that
        are no keys are passed over, because validators put names of their own between them."""
        at: Place = ()
        for part in place:
            if (*at, part) in self.lines:
                at = (*at, part)
        return self.lines.get(at, 1)


def read(data: bytes) -> Document:
    """Read one manifest. Never raises for what is in it: see ``faults``."""
    document, text = Document(), ""
    try:
        text = documents.text(data)
        document.faults += documents.unseen(text)
        if not document.faults:
            _Builder(document, yaml.parse(text, Loader=_LOADER)).document()
    except Unreadable as stopped:
        document.faults.append(stopped.fault)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        document.faults.append(Fault(line=line, message=f"not YAML: {_say(error, text.splitlines()[line - 1 : line])}"))
    except yaml.YAMLError as error:
        document.faults.append(Fault(line=1, message=f"not YAML: {shown(str(error))}"))
    return document


def _say(error: yaml.MarkedYAMLError, line: list[str]) -> str:
    if line and line[0].lstrip(" ").startswith("\t"):
        return "a tab in the indentation; spaces are expected"
    return str(error.problem or error.context)


class _Builder:
    """Builds plain values out of the parser's events, so that nothing is expanded before it was looked at."""

    def __init__(self, document: Document, events: Iterator[yaml.Event]) -> None:
        self._document = document
        self._events = events

    def document(self) -> None:
        next(self._events)  # the stream's start
        start = next(self._events)
        if isinstance(start, yaml.StreamEndEvent):
            _stop(1, "empty")
        if getattr(start, "version", None) or getattr(start, "tags", None):
            _stop(1, "directives (%) are not used here")
        self._document.value = self._value(next(self._events), ())
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            _stop(_line(after), "a second document")

    def _value(self, event: yaml.Event, place: Place) -> object:
        self._document.lines.setdefault(place, _line(event))
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            _stop(_line(event), "anchors and aliases (& and *) are not used here")
        if tag := getattr(event, "tag", None):
            _stop(_line(event), f"tags are not used here: {shown(tag)}")
        if len(place) > _DEPTH_LIMIT:
            _stop(_line(event), f"more than {_DEPTH_LIMIT} levels")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(place)
        return str(getattr(event, "value", ""))

    def _mapping(self, place: Place) -> dict[str, object]:
        found: dict[str, object] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._value(event, (*place, ""))
            self._document.lines.pop((*place, ""), None)
            if not isinstance(key, str):
                _stop(_line(event), "a key is text")
            if key in found:
                first = self._document.lines[*place, key]
                message = f"{name(key)}: given twice, first in line {first}"
                self._document.faults.append(Fault(line=_line(event), message=message))
            self._document.lines.setdefault((*place, key), _line(event))
            found[key] = self._value(next(self._events), (*place, key))
        return found

    def _sequence(self, place: Place) -> list[object]:
        found: list[object] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, (*place, len(found))))
        return found


def name(key: str) -> str:
    """A key for a message: as it is, or quoted if that would not be plain."""
    return key if key.isascii() and key.isprintable() and 0 < len(key) <= 40 else shown(key)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _stop(line: int, message: str) -> NoReturn:
    raise Unreadable(message, line=line)
