"""How kmi answers the signals that ask it to end, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kmi.cli import stops
from tests import living

BEFORE = """
import signal, sys, time
from kmi.cli import stops
{first}
stops.obey()
print('up', flush=True)
"""
WORK = """
try:
    print('working', flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print('asked', flush=True)
    {then}
    sys.exit(130)
"""
FORK = """
import os
def hook():
    print('in the hook', flush=True)
    time.sleep(60)
os.register_at_fork(before=hook)
try:
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""
SOURCE = """
try:
    exec('print("in the text", flush=True); time.sleep(60)')
except KeyboardInterrupt:
    sys.exit(130)
"""


@contextmanager
def started(*words: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
    argv = [*living.OBEDIENT, sys.executable, *(words if len(words) > 1 else ("-c", *words))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, **environ}) as process:
        assert told(process) == "up"
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", stops.SIGNALS)
def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    with started(BEFORE.format(first="") + WORK.format(then="")) as process:
        assert told(process) == "working"
        process.send_signal(number)
        assert told(process) == "asked"
        assert process.wait(5) == 130


def test_asked_again_it_ends_at_once_but_the_same_wish_told_twice_is_one() -> None:
    with started(BEFORE.format(first="") + WORK.format(then="time.sleep(60)")) as process:
        assert told(process) == "working"
        process.send_signal(signal.SIGTERM)
        assert told(process) == "asked"
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(stops.ONE_WISH + 0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(2) == 130


def test_what_the_caller_ignores_stays_ignored() -> None:
    first = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    with started(BEFORE.format(first=first) + WORK.format(then="")) as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert process.poll() is None


def test_a_signal_that_python_drops_is_raised_again() -> None:
    """The module logging has hooks around fork(2), and every program that kmi starts is a fork."""
    with started(BEFORE.format(first="") + FORK) as process:
        assert told(process) == "in the hook"
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 130


def test_an_end_in_order_has_its_time() -> None:
    """A thread that is not told of the end keeps Python from ending."""
    first = "stops.GRACE = 1.5; import threading; threading.Thread(target=time.sleep, args=(60,)).start()"
    with started(BEFORE.format(first=first) + WORK.format(then="")) as process:
        assert told(process) == "working"
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(10) == 130
        assert time.monotonic() - began < 5


def test_the_exit_status_holds_wherever_the_signal_came(tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(BEFORE.format(first="") + SOURCE)
    with started("-m", "work", PYTHONPATH=f"{tmp_path}:{Path(stops.__file__).parents[2]}") as process:
        assert told(process) == "in the text"
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130


def test_other_dropped_errors_are_told_as_ever() -> None:
    code = BEFORE.format(first="") + "class A:\n    def __del__(self): raise ValueError('seen')\nA()\n"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ValueError: seen" in result.stderr
