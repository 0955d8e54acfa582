"""A program that moves no byte is told from one that takes its time (real processes, their real counters)."""

from __future__ import annotations

import os
import sys
import time

import pytest

from kmi.errors import BuildError
from kmi.host import memory
from kmi.host.run import run
from kmi.host.silence import Silence


def test_a_silent_program_is_ended() -> None:
    began = time.monotonic()
    with pytest.raises(BuildError, match="ran out of time"):
        run(["sleep", "60"], stuck=Silence(0.3))
    assert time.monotonic() - began < 20


def test_one_that_works_is_not() -> None:
    slow = "import time; f = open('/dev/zero', 'rb', 0); [(f.read(8192), time.sleep(0.2)) for _ in range(10)]"
    run([sys.executable, "-I", "-c", slow], stuck=Silence(1.0))


def test_a_process_that_cannot_be_read_is_not_called_silent() -> None:
    silence = Silence(0.0)
    assert not silence(2**22 + 1)
    time.sleep(0.01)
    assert not silence(2**22 + 1)


def test_a_file_in_memory_is_read_by_a_program_and_gone_after() -> None:
    with memory.file(b"text" * 100_000) as path:
        assert str(os.getpid()) in path.parts
        assert run(["cat", path]).stdout == "text" * 100_000
    assert not path.exists()
