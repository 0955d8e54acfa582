"""The vocabulary as JSON and back: what receipts hold between two runs."""

from __future__ import annotations

import types
import typing
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from kmi.model.digest import Digest


def encode(value: object) -> Any:
    """A value of ``kmi.model`` as JSON: digests, paths, enums and times as text, dataclasses as objects."""
    match value:
        case None | bool() | int() | float():
            return value
        case Digest() | Path():
            return str(value)
        case str():
            return str(value)
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case date():
            return value.isoformat()
        case tuple() | list():
            return [encode(item) for item in value]
        case dict():
            return {str(key): encode(item) for key, item in value.items()}
        case _:
            return _fields(value)


def _fields(value: object) -> dict[str, Any]:
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: encode(getattr(value, entry.name)) for entry in fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def decode(kind: Any, value: Any) -> Any:
    """The value of type ``kind`` that ``encode`` wrote. ValueError or TypeError if it is not one."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else decode(next(part for part in arguments if part is not type(None)), value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(decode(arguments[0], item) for item in value)
        return tuple(decode(part, item) for part, item in zip(arguments, value, strict=True))
    if kind is Digest:
        return Digest.parse(value)
    if kind is datetime:
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    if kind is date:
        return date.fromisoformat(value)
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{entry.name: decode(hints[entry.name], value[entry.name]) for entry in fields(kind)})  # type: ignore[operator]
    if kind is Path or (isinstance(kind, type) and issubclass(kind, StrEnum)):
        return kind(value)
    if isinstance(value, kind):
        return value
    raise TypeError(f"expected {kind}, got {value!r}")
