"""Locks that a dead holder's kernel lets go, and files of theirs that may be removed."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kmi.errors import Interrupted
from kmi.host import run
from kmi.host.locks import attempt, locked

HOLD = (
    "import sys, time; from pathlib import Path; from kmi.host.locks import attempt; h = attempt(Path(sys.argv[1])); "
)


def holder(path: Path) -> subprocess.Popen[bytes]:
    """Another process that has the lock."""
    script = HOLD + "print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    return process


def test_a_lock_ends_with_its_holder_even_if_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holder(path) as process:
        assert attempt(path) is None
        assert attempt(path, shared=True) is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        handle = attempt(path)
    assert handle
    handle.close()


def test_shared_holders_keep_an_exclusive_one_out(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path, shared=True), locked(path, shared=True):
        assert attempt(path) is None
    handle = attempt(path)
    assert handle
    handle.close()


def test_who_waited_for_a_removed_file_takes_the_new_one(tmp_path: Path) -> None:
    """The trap of removing lock files: two that hold "the" lock on two files of one name."""
    path, order = tmp_path / "lock", []
    first = attempt(path)
    assert first
    waiting = threading.Event()

    def second() -> None:
        with locked(path, blocked=waiting.set):
            assert path.exists(), "the lock of a file that has no name is none"
            assert attempt(path) is None
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    assert waiting.wait(10)
    path.unlink()
    order.append("first")
    first.close()
    thread.join(10)
    assert order == ["first", "second"]


def test_waiting_ends_when_the_run_is_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "stopping", lambda: True)
    with locked(tmp_path / "lock"), pytest.raises(Interrupted), locked(tmp_path / "lock"):
        pass


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        attempt(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(FileNotFoundError):
        attempt(tmp_path / "none", create=False)
    assert [entry.name for entry in tmp_path.iterdir()] == ["lock"]
