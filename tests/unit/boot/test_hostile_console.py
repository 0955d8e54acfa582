"""A console that a hostile guest writes: bounded time, bounded memory, no word that steers a terminal or a runner."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.boot import console
from kmi.boot.checks import cloud_init
from kmi.boot.checks.check import Check
from kmi.boot.console import Console, GaveUp, Patience, readable, wait
from kmi.boot.round import _Judge, line
from kmi.model.checks import LOGIN_PROMPT

ANY = Patience(quiet=60, overall=60, least=60)
SIZE = console.LIMIT // 8
PATTERNS = {
    "one line": b"x",
    "GRUB for ever": b"GRUB ",
    "cloud-init for ever": b"cloud-init ",
    "escapes that do not end": b"\x1b]0;",
    "CSI without an end": b"\x1b[0;1;2",
    "brackets": b"[    ",
    "login, nearly": b"login login: x",
    "finished, nearly": b"Cloud-init v. x finished a",
    "line ends": b"\r\n",
    "nothing": b"\0",
}


@pytest.mark.parametrize("name", PATTERNS)
def test_every_question_is_answered_in_time(tmp_path: Path, name: str) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(PATTERNS[name] * (SIZE // len(PATTERNS[name])))
    subject = Console(log, firmware=log)
    began = time.monotonic()
    subject.login_prompt(), subject.reached(), subject.dead_end(), subject.last_line()
    cloud_init.judge_console(subject.text())
    assert time.monotonic() - began < 5


def test_trouble_on_a_huge_line_is_found_in_time() -> None:
    text = "cloud-init " * 100_000 + "\nCloud-init v. 22 finished at x. DataSourceNoCloud\n"
    began = time.monotonic()
    assert cloud_init.judge_console(text)
    with pytest.raises(GaveUp, match="trouble"):
        cloud_init.judge_console(text + "cloud-init: WARNING\n")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("which", ["console", "firmware"])
def test_a_console_that_prints_without_end_is_given_up(tmp_path: Path, which: str) -> None:
    log, firmware = tmp_path / "console.log", tmp_path / "firmware.log"
    log.write_bytes(b"Linux version 6.1\r\n")
    firmware.write_bytes(b"")
    with (log if which == "console" else firmware).open("r+b") as file:
        file.truncate(1 << 30)
    subject, told = Console(log, firmware=firmware), list[str]()
    with pytest.raises(GaveUp, match="prints without end; it came as far as the kernel"):
        wait(lambda: None, console=subject, alive=lambda: True, patience=ANY, told=told.append, pause=0.01)
    assert len(subject.text()) <= console.LIMIT
    assert len(told[0]) <= 4096


@given(st.binary())
def test_any_bytes_are_text(data: bytes) -> None:
    assert "\r" not in readable(data)


@given(st.text(st.characters()))
def test_what_the_report_says_is_one_short_printable_line(words: str) -> None:
    notes: list[str] = []
    bench = SimpleNamespace(step=SimpleNamespace(note=notes.append))
    judge = _Judge(bench, SimpleNamespace(machine="amd64/bios"), SimpleNamespace(metadata={}))  # type: ignore[arg-type]
    judge._one(Check(name=LOGIN_PROMPT, skip=lambda _: None, run=lambda _: words * 3))
    (result,) = judge.results
    assert len(result.detail) <= 500
    assert not set(result.detail) & set(map(chr, [*range(32), 127, 0x9B, 0x202E]))
    result.detail.encode()
    assert notes == [line(result)]
    assert result.detail in notes[0]


def test_a_record_that_is_nested_too_deep_is_a_finding() -> None:
    with pytest.raises(GaveUp, match="not what cloud-init writes"):
        cloud_init.judge("[" * 200_000)
