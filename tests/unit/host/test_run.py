from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kmi.errors import BuildError, HostError
from kmi.host.run import Background, environment, run, which


def test_output_and_status() -> None:
    result = run(["sh", "-c", "echo out; echo err >&2; exit 3"], ok=(3,))
    assert (result.status, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_a_failure_tells_command_status_and_the_tail() -> None:
    with pytest.raises(BuildError) as caught:
        run(["sh", "-c", "seq 1 1000; echo 'the cause' >&2; exit 4"])
    text = str(caught.value)
    assert "exit status 4" in text
    assert "the cause" in text
    assert "seq 1 1000" in text
    with pytest.raises(BuildError, match="signal SIGKILL"):
        run(["sh", "-c", "kill -9 $$"])


def test_a_missing_program_is_the_hosts_fault() -> None:
    with pytest.raises(HostError, match="no-such-program is not installed"):
        run(["no-such-program"])
    assert which("no-such-program") is None


def test_secrets_reach_neither_error_nor_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(BuildError) as caught:
        run(["sh", "-c", "echo canary-4711; exit 1"], log=log, secrets=["canary-4711"])
    assert "canary-4711" not in str(caught.value)
    assert "canary-4711" not in log.read_text()
    assert "***" in log.read_text()


def test_the_log_holds_command_and_output(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "log"
    seen: list[str] = []
    run(["printf", "a b\n"], log=log, on_line=seen.append)
    assert log.read_text() == "+ printf 'a b\n'\na b\n"
    assert seen == ["a b"]


def test_output_that_is_not_utf8_is_text_all_the_same(tmp_path: Path) -> None:
    result = run(["sh", "-c", r"printf 'a\377b\n'; printf '\300\200\n' >&2"], log=tmp_path / "log")
    assert (result.stdout, result.stderr) == ("a\ufffdb\n", "\ufffd\ufffd\n")


def test_stdin_is_given_or_empty() -> None:
    assert run(["cat"], stdin=b"x\n").stdout == "x\n"
    assert run(["cat"]).stdout == ""


def test_time_runs_out() -> None:
    began = time.monotonic()
    with pytest.raises(BuildError, match="ran out of time"):
        run(["sh", "-c", "sleep 60 & sleep 60"], timeout=0.3)
    assert time.monotonic() - began < 10


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert "SECRET_TOKEN" not in environment()
    listing = run(["env"], env={"EXTRA": "1"}).stdout
    assert "SECRET_TOKEN" not in listing
    assert "EXTRA=1" in listing
    assert "LC_ALL=C.UTF-8" in listing


def test_there_is_no_terminal() -> None:
    assert run(["sh", "-c", "test -t 1 && echo tty || echo none"]).stdout == "none\n"


def test_a_background_program_stops(tmp_path: Path) -> None:
    server = Background(["sh", "-c", "echo ready; sleep 100"], log=tmp_path / "log")
    assert server.alive()
    server.stop()
    assert not server.alive()
    assert "ready" in (tmp_path / "log").read_text()


def test_children_die_with_kmi_also_on_sigkill(tmp_path: Path) -> None:
    code = (
        "import time; from pathlib import Path; from kmi.host.run import Background;"
        f"b = Background(['sleep', '120'], log=Path({str(tmp_path / 'log')!r}));"
        "print(b.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and Path(f"/proc/{child}/stat").exists():
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{child}").exists()
