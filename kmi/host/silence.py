"""Whether a program that talks over the network still does: by the bytes that it moves, not by the time that it takes.

A push of ten gigabytes over a slow line may take hours; a registry that accepts a connection and never answers takes
for ever. ``/proc/PID/io`` (proc(5): ``rchar``, ``wchar``) tells the two apart, since reads and writes of sockets count.
"""

from __future__ import annotations

import time
from pathlib import Path

PROGRESS = 4096
"""Bytes. What a runtime writes to wake its own threads stays below it; the slowest line is above."""


class Silence:
    """Ask it again and again with a process's id: true once ``limit`` seconds went by without progress. A process whose
    counters cannot be read is never called silent."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._moved = 0
        self._since = time.monotonic()

    def __call__(self, pid: int) -> bool:
        now, moved = time.monotonic(), _moved(pid)
        if moved is None or moved - self._moved >= PROGRESS:
            self._moved, self._since = moved or 0, now
        return now - self._since > self.limit


def _moved(pid: int) -> int | None:
    try:
        rows = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return sum(int(row.partition(":")[2]) for row in rows if row.startswith(("rchar", "wchar")))
