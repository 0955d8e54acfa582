"""Why a stage runs again: the difference between its inputs then and now, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_LONG = 24


def changes(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> list[str]:
    """One line for each input that differs, sorted by its path; empty if there was nothing before."""
    if before is None:
        return []
    return sorted(_differences("", before, now))


def _differences(path: str, before: Any, now: Any) -> Iterator[str]:
    if before == now:
        return
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in {**before, **now}:
            yield from _differences(f"{path}.{name}" if path else str(name), before.get(name), now.get(name))
    elif isinstance(before, list) and isinstance(now, list) and all(isinstance(x, str) for x in [*before, *now]):
        words = [f"+{item}" for item in now if item not in before] + [f"-{item}" for item in before if item not in now]
        yield f"{path}: {' '.join(words) or 'other order'}"
    else:
        yield f"{path}: {_short(before)} → {_short(now)}"


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONG else text[: _LONG - 1] + "…"
