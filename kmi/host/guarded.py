"""The run as a whole: the mark that all its processes carry, their folder for temporary files, and the guardian.

Direct children die with kmi (``kmi.host.run``); what they start, and what libguestfs starts, does not. So a run gets a
mark in its environment and a guardian (``kmi.host.guardian``) before it starts its first program, and ``TMPDIR`` leads
into the cache, where the next start removes what a killed run left.
"""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from kmi.host import guardian
from kmi.host.guardian import MARK

Start = Callable[[list[str], int], int]
"""Starts a detached Python program: its words and its standard input; returns the process id."""


@dataclass(kw_only=True)
class _Run:
    """One run of kmi. ``pipe`` is the end that only kmi holds; None until the first program is started."""

    scratch: Callable[[], Path] | None
    guardian: int = 0
    pipe: int | None = None
    before: dict[str, str | None] = field(default_factory=dict)


_LOCK = threading.Lock()
_RUN: _Run | None = None


@contextmanager
def guarded(scratch: Callable[[], Path] | None) -> Iterator[None]:
    """Have the programs of this block end with kmi, however it ends. ``scratch`` makes the folder for temporary files
    when the first program is started; without it they lie where they always do. An error's way out leaves
    the guardian a last look round."""
    global _RUN
    run = _RUN = _Run(scratch=scratch)
    try:
        yield
    except BaseException:
        _end(run, clean=False)
        raise
    _end(run, clean=True)


def arm(start: Start) -> None:
    """Mark the run and start its guardian, if that was not done yet; nothing to do outside of ``guarded``."""
    with _LOCK:
        if _RUN is None or _RUN.pipe is not None:
            return
        mark = secrets.token_hex(8)
        _change(_RUN, {MARK: mark, **_temporary(_RUN.scratch)})
        theirs, _RUN.pipe = os.pipe()
        try:
            _RUN.guardian = start(["-I", "-S", str(Path(guardian.__file__)), mark], theirs)
        finally:
            os.close(theirs)


def bequeath(folder: Path) -> None:
    """Have the guardian remove ``folder``, which lies outside of the cache and holds no folders, if kmi is killed."""
    with _LOCK:
        if _RUN is not None and _RUN.pipe is not None:
            with suppress(BrokenPipeError):  # somebody killed the guardian
                os.write(_RUN.pipe, os.fsencode(folder) + b"\n")


def _temporary(scratch: Callable[[], Path] | None) -> dict[str, str]:
    try:
        return {} if scratch is None else {"TMPDIR": str(scratch())}
    except OSError:  # a cache that cannot be written: who needs it will say so
        return {}


def _change(run: _Run, values: dict[str, str]) -> None:
    for name, value in values.items():
        run.before[name] = os.environ.get(name)
        os.environ[name] = value
    tempfile.tempdir = None  # asked for again at its next use


def _end(run: _Run, *, clean: bool) -> None:
    """A clean end needs no guardian; after any other it sees the pipe break and looks for what is left."""
    global _RUN
    with _LOCK:
        _RUN = None
        if run.pipe is None:
            return
        if clean:
            os.kill(run.guardian, signal.SIGKILL)
            os.waitpid(run.guardian, 0)
        os.close(run.pipe)
        for name, value in run.before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        tempfile.tempdir = None
