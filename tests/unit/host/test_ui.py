from __future__ import annotations

import io
import re

import pytest

from kmi.host.ui import Reporter, amount, duration, plain


def test_plain_lines_off_a_terminal() -> None:
    out = io.StringIO()
    ui = Reporter(out, github=False)
    with ui.step("debian-12-amd64", "fetch") as step:
        step.progress(10, 100)
        step.done("10 B")
    with ui.step("debian-12-amd64", "wrap") as step:
        step.reuse("sha256:1")
    with pytest.raises(RuntimeError), ui.step("debian-12-amd64", "push"):
        raise RuntimeError
    text = out.getvalue()
    assert "\x1b" not in text
    assert re.search(r"^✓ debian-12-amd64 +fetch +0\.\d s +10 B$", text, re.M)
    assert re.search(r"^= debian-12-amd64 +wrap +reused +sha256:1$", text, re.M)
    assert re.search(r"^✗ debian-12-amd64 +push +failed$", text, re.M)


def test_groups_and_annotations_under_github() -> None:
    out = io.StringIO()
    ui = Reporter(out, github=True)
    with ui.step("x", "fetch"):
        pass
    ui.error("bad\nvalue 100%", where="distros/debian.yaml:7")
    lines = out.getvalue().splitlines()
    assert lines[0] == "::group::x fetch"
    assert "::endgroup::" in lines
    assert "::error file=distros/debian.yaml,line=7::bad%0Avalue 100%25" in lines


def test_nobody_else_steers_the_terminal() -> None:
    assert plain("a\x1b[2Jb\x07\u202ec\r\td") == "a�[2Jb��c�\td"
    out = io.StringIO()
    Reporter(out, github=False).line("guest says \x1b]0;owned\x07")
    assert "\x1b" not in out.getvalue()


def test_amounts_and_durations() -> None:
    assert [amount(n) for n in (0, 1023, 1024, 5 * 1024**3, 5000 * 1024**3)] == [
        "0 B", "1023 B", "1.0 KiB", "5.0 GiB", "5000.0 GiB",
    ]  # fmt: skip
    assert [duration(s) for s in (0.04, 99.94, 100, 3661)] == ["0.0 s", "99.9 s", "1 min 40 s", "61 min 01 s"]
