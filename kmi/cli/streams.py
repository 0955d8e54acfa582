"""The standard streams, whatever they were when kmi was started: closed, a pipe without a reader, a full disk, a locale
without the character that is to be written."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from kmi.errors import HostError
from kmi.host.ui import NARROW


def secure() -> None:
    """Open the null device where stdin, stdout or stderr is closed: the next file opened would take its number, and
    what a program prints would go into that file. Have undecodable characters written as escapes, not refused."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def ready() -> None:
    """HostError if stdout is closed: better now than after an hour of work whose result has nowhere to go."""
    if sys.stdout is None:
        raise HostError("the result cannot be written: stdout is closed", hint="send it to /dev/null to do without it")


def say(text: str) -> None:
    """Write to stdout at once. A reader that went away wants no more, and that is no error. HostError if stdout is
    closed or its disk is full."""
    ready()
    try:
        sys.stdout.write(text if wide() else text.translate(NARROW))
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
    except OSError as error:
        _discard(sys.stdout)
        raise HostError("the result cannot be written to stdout", got=error.strerror) from error


def finish(status: int) -> int:
    """Write what argparse left unwritten. The exit status: ``status``, or that of a HostError if this fails."""
    for stream in filter(None, (sys.stderr, sys.stdout)):
        try:
            stream.flush()
        except OSError as error:
            _discard(stream)
            if stream is sys.stdout and not isinstance(error, BrokenPipeError):
                status = status or HostError.exit_code
    return status


def wide() -> bool:
    """Whether stdout takes every character."""
    return sys.stdout is None or (sys.stdout.encoding or "utf-8").lower().replace("-", "") == "utf8"


def _discard(stream: TextIO) -> None:
    """Send what is still to come, and what the interpreter writes at its end, to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, stream.fileno())
    finally:
        os.close(null)
