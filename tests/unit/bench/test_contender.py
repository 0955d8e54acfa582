"""Reading a file into the page cache: all of its data, and none of its holes."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from bench.contender import execute, timed, warm


def test_a_sparse_file_is_warmed_in_no_time(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"data")
    began = time.monotonic()
    warm(path)
    assert time.monotonic() - began < 5, "the holes were read"


def test_a_file_without_holes_and_an_empty_one(tmp_path: Path) -> None:
    for size in (0, 5, 9 * 1024 * 1024):
        path = tmp_path / "disk"
        path.write_bytes(b"x" * size)
        warm(path)


def test_the_clock_is_around_the_work_alone() -> None:
    assert 0.05 <= timed(lambda: time.sleep(0.05)) < 2


def test_a_program_that_fails_ends_the_run_with_its_words(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert execute([sys.executable, "-c", "print('fine')"], log=log) == "fine\n"
    with pytest.raises(RuntimeError, match=r"ended with 3:\nno such disk"):
        execute([sys.executable, "-c", "import sys; sys.stderr.write('no such disk'); sys.exit(3)"], log=log)
    assert "no such disk" in log.read_text()
    with pytest.raises(RuntimeError, match="not installed"):
        execute(["kmi-no-such-program"], log=log)
