"""The ends of the logs that belong to a crash."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kmi.host.redact import redact
from kmi.host.ui import Trace

LINES = 50
WIDTH = 200
FILES = 2
_READ = 1 << 18


def newest(output: Path, stages: Iterable[Trace]) -> list[Path]:
    """For each stage, in that order, its own log below ``output``, else its image's latest; at most ``FILES``.

    A folder is named after its image or its release (``pipeline.releases.folder``), so either may begin the other.
    """
    found: dict[Path, None] = {}
    for stage in stages:
        logs = [log for log in output.glob("*/log/*.log") if _begin(stage.image, log.parts[-3])]
        if logs:
            own = f"{stage.image}-{stage.name}"
            found[max(logs, key=lambda log: (log.name.startswith(own), log.stat().st_mtime))] = None
    return list(found)[:FILES]


def _begin(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def tail(file: Path) -> str:
    """The last lines, without secrets. They are blanked before anything is cut: half a secret is not recognised."""
    try:
        with file.open("rb") as handle:
            start = max(0, handle.seek(0, 2) - _READ)
            handle.seek(start)
            text = handle.read(_READ).decode("utf-8", "replace")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    lines = redact(text).splitlines()[1 if start else 0 :]
    return "\n".join(line[:WIDTH] for line in lines[-LINES:])
