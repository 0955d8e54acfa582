"""SIGINT, SIGTERM and SIGHUP end a run in order, exit status 130; asked again, or after some seconds, at once."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType

from kmi.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ONE_WISH = 1.0
"""Seconds in which further signals count as the first: timeout(1) sends one twice, systemd may send two kinds."""
AGAIN = 0.05
"""Seconds after which a ``Stopped`` that went nowhere is raised again."""

GRACE = 6.0
"""Seconds that an end in order may take: a thread may wait for a server, or another kmi use this one's registry."""

_asked: float | None = None
_unraisable = sys.__unraisablehook__


class Stopped(KeyboardInterrupt):
    """What a signal raises. Not KeyboardInterrupt itself: where that one has ever left source text that was executed,
    as every dataclass is, Python ends itself by SIGINT whatever its exit status (CPython 3.11, run_eval_code_obj)."""


def obey() -> None:
    """From now on the first signal raises Stopped in the main thread, and the next one or the end of ``GRACE`` leaves
    at once; what still runs then is the guardian's (``kmi.host.guarded``). A signal that the caller ignores (nohup(1))
    stays ignored."""
    global _asked, _unraisable
    _asked = None
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    signal.signal(signal.SIGALRM, _remind)
    if sys.unraisablehook is not _lost:
        _unraisable, sys.unraisablehook = sys.unraisablehook, _lost


def _stop(_number: int, _frame: FrameType | None) -> None:
    global _asked
    now = time.monotonic()
    if _asked is None:
        _asked = now
        signal.setitimer(signal.ITIMER_REAL, GRACE)
        raise Stopped
    if now > _asked + ONE_WISH:
        os._exit(Interrupted.exit_code)


def _remind(_number: int, _frame: FrameType | None) -> None:
    """The time is over, or the first wish was lost."""
    left = (_asked or 0.0) + GRACE - time.monotonic()
    if left <= 0:
        with suppress(OSError):
            os.write(2, b"interrupted: ended at once, after %d s of waiting for what did not end\n" % GRACE)
        os._exit(Interrupted.exit_code)
    signal.setitimer(signal.ITIMER_REAL, left)
    raise Stopped


def _lost(unraisable: sys.UnraisableHookArgs) -> None:
    """Python drops what is raised in a finalizer or in a hook around fork(2), and a signal comes at any moment."""
    if issubclass(unraisable.exc_type, Stopped):
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
    else:
        _unraisable(unraisable)
