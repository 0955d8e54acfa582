"""Streams as shells, pipes and daemons leave them. Each case is a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def shell(tmp_path: Path, line: str, **environ: str) -> tuple[int, str, str]:
    """Run a line of bash in which ``kmi`` is this kmi; the status is that of the pipe's first program."""
    (tmp_path / "kmi").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kmi "$@"\n')
    (tmp_path / "kmi").chmod(0o755)
    env = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "KMI_DISTROS": str(ROOT / "distros"),
        "TERM": "dumb",
        **environ,
    }
    done = subprocess.run(
        ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"], env=env, cwd=tmp_path, capture_output=True, timeout=60
    )
    assert not list(tmp_path.rglob("kmi-crash-*")), done.stderr.decode()
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(
    ("line", "status", "told"),
    [
        ("kmi list | head -c 0", 0, "* default"),
        ("kmi --help | head -c 0", 0, ""),
        ("kmi list >&-", 7, "stdout is closed"),
        ("kmi --help >&-", 0, "usage: kmi"),
        ("kmi list > /dev/full", 7, "No space left on device"),
        ("kmi --help > /dev/full", 7, "No space left on device"),
        ("kmi list 2>&- > /dev/null", 0, ""),
        ("kmi list nothing 2>&-", 2, ""),
        ("kmi list --nonsense 2>&-", 2, ""),
        ("kmi list nothing 2> /dev/full", 2, ""),
        ("kmi list <&- > /dev/null", 0, "* default"),
        ("mkdir gone; cd gone; rmdir ../gone; kmi list", 7, "the current folder was removed"),
    ],
)
def test_each_ends_with_its_status_and_a_clear_word(tmp_path: Path, line: str, status: int, told: str) -> None:
    got, _, err = shell(tmp_path, line)
    assert got == status
    assert told in err
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert err if told else not err


def test_another_locale_loses_no_line(tmp_path: Path) -> None:
    status, out, _ = shell(tmp_path, "kmi list debian --json", PYTHONIOENCODING="ascii")
    assert status == 0
    assert out.isascii()
    status, _, err = shell(tmp_path, "kmi list $'nobody-\\xe2\\x9c\\x93'", PYTHONIOENCODING="ascii")
    assert status == 2
    assert "nobody-+" in err


@pytest.mark.parametrize("verb", ["build", "run"])
def test_work_whose_result_has_nowhere_to_go_is_not_begun(tmp_path: Path, verb: str) -> None:
    status, _, err = shell(tmp_path, f"kmi {verb} debian:12 >&-")
    assert status == 7
    assert "stdout is closed" in err
    assert not (tmp_path / "build").exists()
