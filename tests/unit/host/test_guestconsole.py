from __future__ import annotations

import ctypes
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.errors import BuildError
from kmi.host.guestconsole import GuestConsole


def test_lines_are_told_as_they_end_whatever_the_pieces() -> None:
    log, seen = io.BytesIO(), list[str]()
    console = GuestConsole(log)
    console.feed(b"not asked for\n")
    with console.lines(seen.append):
        for piece in (b"one\ntw", b"o\r\n\r\n 50 %\r100 %\r", b"h\xc3", b"\xa4\n\xff\n", b"unfinished"):
            console.feed(piece)
    console.feed(b"\nafterwards\n")
    assert seen == ["one", "two", " 50 %", "100 %", "hä", "\N{REPLACEMENT CHARACTER}"]
    assert log.getvalue().startswith(b"not asked for\none\ntwo\r\n")


@given(st.lists(st.binary(max_size=9000), max_size=9))
def test_any_bytes_are_lines_of_bounded_length(pieces: list[bytes]) -> None:
    seen: list[str] = []
    console = GuestConsole(io.BytesIO())
    with console.lines(seen.append):
        for piece in pieces:
            console.feed(piece)
    assert all(len(line) <= 4096 and "\n" not in line and "\r" not in line for line in seen)
    assert len(console._rest) <= 4096


def test_a_line_without_an_end_is_told_in_pieces() -> None:
    seen: list[str] = []
    console = GuestConsole(io.BytesIO())
    with console.lines(seen.append):
        for _ in range(100):
            console.feed(b"y" * 1000)
    assert {len(line) for line in seen} == {4096}


def test_the_log_ends_at_the_limit_and_the_work_too() -> None:
    log, seen = io.BytesIO(), list[str]()
    console = GuestConsole(log, limit=1000)
    console.check(time.monotonic())
    with console.lines(seen.append):
        for _ in range(100):
            console.feed(b"y\n" * 50)
    assert len(log.getvalue()) == 1000
    assert len(seen) == 500
    with pytest.raises(BuildError, match="prints without end"):
        console.check(time.monotonic())


def test_silence_ends_the_work_and_a_word_prolongs_it() -> None:
    console = GuestConsole(io.BytesIO(), silence=0.4, call=0.1)
    began = time.monotonic()
    with console.lines(lambda _: None):
        time.sleep(0.25)
        console.check(began)
        console.feed(b".")
        time.sleep(0.25)
        console.check(began)
        time.sleep(0.2)
        with pytest.raises(BuildError, match="does not come to an end"):
            console.check(began)
    console.feed(b".")
    console.check(began)
    time.sleep(0.15)
    with pytest.raises(BuildError, match=r"silence for 0\.1 s"):
        console.check(began)


def test_what_fails_in_the_callback_is_raised_by_the_caller() -> None:
    def full(_: str) -> None:
        raise OSError(28, "No space left on device")

    console, data = GuestConsole(io.BytesIO()), ctypes.create_string_buffer(b"x\n", 2)
    with console.lines(full):
        console._callback(None, None, 0, 0, 0, data, 2, None, 0)
    with pytest.raises(OSError, match="No space"):
        console.check(time.monotonic())
