"""What a run of kmi has going on this machine: processes and mounts, as the kernel tells."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
OBEDIENT = ("env", "--default-signal=HUP,INT,TERM")
"""Stands before a command that is to be stopped: whoever runs the tests in the background, or under nohup(1), ignores
signals, and what is ignored is inherited."""


def processes(folder: Path) -> dict[int, str]:
    """Living processes that have ``folder`` in their environment or command line, or work below it; what they run."""
    found = {}
    for pid in _all():
        words = _read(pid, "cmdline")
        if any(os.fsencode(folder) in text for text in (words, _read(pid, "environ"), _link(pid, "cwd"))):
            found[pid] = words.replace(b"\0", b" ").decode(errors="replace")[:200]
    return found


def family(pid: int) -> dict[int, str]:
    """All that a process has started, directly or not, as far as the links are still there."""
    parents = {child: int(stat[1]) for child in _all() if (stat := _stat(child))}
    found: set[int] = set()
    while grown := {child for child, parent in parents.items() if parent in found | {pid}} - found:
        found |= grown
    return {child: _read(child, "cmdline").replace(b"\0", b" ").decode(errors="replace") for child in found}


def alive(pid: int) -> bool:
    stat = _stat(pid)
    return bool(stat) and stat[0] not in "ZX"


def left(pids: Iterable[int], folder: Path, seconds: float) -> dict[int, str]:
    """What still lives of ``pids`` and of ``folder``'s processes after ``seconds``; returns as soon as nothing does."""
    deadline = time.monotonic() + seconds
    while True:
        found = processes(folder) | {pid: _read(pid, "cmdline").decode(errors="replace") for pid in pids if alive(pid)}
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def mounts(folder: Path) -> list[str]:
    """Mount points below ``folder`` that this process sees."""
    lines = (PROC / "self" / "mountinfo").read_text().splitlines()
    return [point for line in lines if (point := line.split()[4]).startswith(f"{folder}/")]


def _all() -> list[int]:
    return [int(path.name) for path in PROC.iterdir() if path.name.isdigit() and alive(int(path.name))]


def _stat(pid: int) -> list[str]:
    """State, parent and so on (proc(5)); empty if the process is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""


def _link(pid: int, name: str) -> bytes:
    try:
        return os.fsencode((PROC / str(pid) / name).readlink())
    except OSError:
        return b""
