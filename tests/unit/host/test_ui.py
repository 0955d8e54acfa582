from __future__ import annotations

import errno
import io
import re
from pathlib import Path

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


def test_nobody_else_gives_commands_to_githubs_runner() -> None:
    out = io.StringIO()
    ui = Reporter(out, github=True)
    ui.line("the tool said:\n::add-path::/tmp\n  ::error::x\n\t##[group]y\nsee a::b")
    ui.annotate("bad", "distros/a,file=b:c.yaml:7")
    assert out.getvalue().splitlines() == [
        "the tool said:", "| ::add-path::/tmp", "  | ::error::x", "\t| ##[group]y", "see a::b",
        "::error file=distros/a%2Cfile=b%3Ac.yaml,line=7::bad",
    ]  # fmt: skip


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


def test_the_stages_that_have_not_ended_well_are_known() -> None:
    ui = Reporter(io.StringIO(), github=False)
    with ui.step("debian-12-amd64", "fetch"):
        pass
    with pytest.raises(RuntimeError), ui.step("debian-12-amd64", "customize") as step:
        step.count(3, 7, "packages")
        raise RuntimeError
    with ui.step("fedora-43-amd64", "fetch"):
        first, second = ui.unfinished()
    assert (first.image, first.name, first.failed, first.detail) == (
        "debian-12-amd64",
        "customize",
        True,
        "3 of 7 packages",
    )
    assert (second.image, second.name, second.failed) == ("fedora-43-amd64", "fetch", False)
    assert ui.unfinished() == (first,)
    assert ui.printed[0] == "· debian-12-amd64    fetch      started"
    assert ui.printed[-1].startswith("✓ fedora-43-amd64")


class Gone(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_terminal_that_is_gone_stops_no_work(tmp_path: Path) -> None:
    ui = Reporter(Gone(), github=False)
    with ui.step("x", "fetch") as step:
        step.watch(tmp_path / "absent", "downloading")
    ui.warn("nobody sees this")
    assert ui.printed[-1] == "warning: nobody sees this"
    closed = (tmp_path / "closed").open("w")
    late = Reporter(closed, github=False)
    closed.close()
    late.line("nor this")


def test_no_secret_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", "C4n4ry-word")
    out = io.StringIO()
    ui = Reporter(out, github=False)
    with ui.step("x", "push") as step:
        step.done("with C4n4ry-word")
    ui.note("https://u:C4n4ry@a.example/")
    assert "C4n4ry" not in out.getvalue() + "".join(ui.printed)


def test_a_narrow_terminal_gets_letters() -> None:
    raw = io.BytesIO()
    ui = Reporter(io.TextIOWrapper(raw, encoding="ascii", errors="backslashreplace"), github=False)
    with ui.step("x", "push") as step:
        step.done("sha256:1…")
    assert raw.getvalue().decode("ascii").splitlines()[-1].split() == ["+", "x", "push", "0.0", "s", "sha256:1..."]


def test_the_column_of_images_is_as_wide_as_the_longest_name() -> None:
    out = io.StringIO()
    ui = Reporter(out, github=False)
    for image in ("debian-12-amd64", "centos-stream-10-amd64", "debian-12-amd64"):
        with ui.step(image, "fetch"):
            pass
    ends = [line for line in out.getvalue().splitlines() if line.startswith("✓")]
    assert ends[1].index("fetch") == ends[2].index("fetch") == len("✓ centos-stream-10-amd64 ")
