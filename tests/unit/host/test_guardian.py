"""What a run leaves running ends with it, however it ends, and nothing else does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kmi.host import guardian
from kmi.host.guarded import bequeath, guarded
from kmi.host.run import environment, run

ROOT = Path(__file__).parents[3]
RUN = """
import sys, time
from pathlib import Path
from kmi.host.guarded import bequeath, guarded
from kmi.host.run import run
scratch = Path(sys.argv[1])
with guarded(lambda: scratch):
    away = run(["sh", "-c", "setsid sleep 300 >/dev/null 2>&1 & echo $!"]).stdout.strip()
    for folder in sys.argv[2:]:
        bequeath(Path(folder))
    print(away, flush=True)
    {end}
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(*pids: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(alive, pids))


def guardians(parent: int) -> list[int]:
    """The guardian that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            started_by = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if guardian.__file__.encode() in words and started_by == parent:
            found.append(int(path.name))
    return found


@contextmanager
def a_run(scratch: Path, *folders: Path, end: str = "time.sleep(300)") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process that has started a grandchild in a session of its own, out of any parent's reach; and its id."""
    argv = [sys.executable, "-c", RUN.replace("{end}", end), str(scratch), *map(str, folders)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout
        away = int(process.stdout.readline())
        try:
            yield process, away
        finally:
            process.kill()
            if alive(away):
                os.kill(away, signal.SIGKILL)


@contextmanager
def bystander(**environ: str) -> Iterator[int]:
    argv = ["sleep", "300"]
    with subprocess.Popen(argv, env={"PATH": os.environ["PATH"], **environ}) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def test_a_grandchild_dies_with_a_killed_run_and_the_guardian_goes(tmp_path: Path) -> None:
    with a_run(tmp_path) as (process, away):
        (watcher,) = guardians(process.pid)
        assert alive(away)
        process.kill()
        assert gone(away, seconds=guardian.QUIET)
        assert gone(watcher, seconds=guardian.QUIET + 5)


def test_only_what_carries_the_mark_dies(tmp_path: Path) -> None:
    with a_run(tmp_path) as (process, away), a_run(tmp_path) as (_, other):
        mark = next(word for word in Path(f"/proc/{away}/environ").read_text().split("\0") if word[:8] == "KMI_RUN=")
        similar = {"KMI_RUN": mark.partition("=")[2] + "0", "OTHER": mark, "XKMI_RUN": mark.partition("=")[2]}
        with bystander(**similar) as stranger:
            process.kill()
            assert gone(away)
            time.sleep(0.5)
            assert alive(stranger)
            assert alive(other)


def test_a_clean_end_leaves_no_guardian(tmp_path: Path) -> None:
    with a_run(tmp_path, end="sys.stdin.readline()") as (process, _):
        (watcher,) = guardians(process.pid)
        process.communicate("end\n", timeout=10)
        assert process.returncode == 0
        assert not alive(watcher)


def test_after_an_error_it_still_looks_for_what_is_left(tmp_path: Path) -> None:
    with a_run(tmp_path, end="raise SystemExit(5)") as (process, away):
        assert process.wait(10) == 5
        assert gone(away)


def test_what_kmi_named_is_removed_after_a_kill(tmp_path: Path) -> None:
    sockets, holds_folder, other = (tmp_path / name for name in ("sockets", "holds-folder", "other"))
    for folder in (sockets, holds_folder, other):
        folder.mkdir()
        (folder / "file").touch()
    (holds_folder / "folder").mkdir()
    with a_run(tmp_path, sockets, holds_folder) as (process, _):
        (watcher,) = guardians(process.pid)
        process.kill()
        assert gone(watcher, seconds=guardian.QUIET + 5)
    assert not sockets.exists()
    assert (holds_folder / "folder").exists()
    assert (other / "file").exists()


def test_libguestfs_folder_is_known_by_the_command_line_of_its_machine() -> None:
    """As libguestfs 1.48 calls QEMU."""
    line = b"qemu\0-chardev\0socket,path=/tmp/libguestfsAb12Cd/guestfsd.sock,id=channel0\0-drive\0file=/tmp/x\0"
    assert guardian._SOCKETS.findall(line) == [b"/tmp/libguestfsAb12Cd"]
    for other in (b"path=/tmp/libguestfsAb12Cd/overlay1.qcow2", b"path=relative/libguestfsAb12Cd/guestfsd.sock"):
        assert guardian._SOCKETS.findall(other) == []


def test_a_run_has_a_mark_and_its_own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "before"))
    before, scratch = dict(os.environ), tmp_path / "scratch"
    scratch.mkdir()
    with guarded(lambda: scratch):
        assert dict(os.environ) == before, "a verb that starts nothing needs no guardian"
        told = dict(line.split("=", 1) for line in run(["env"]).stdout.splitlines())
        assert told["TMPDIR"] == str(scratch) == tempfile.gettempdir()
        assert len(told[guardian.MARK]) == 16
        bequeath(scratch / "nothing")
    assert dict(os.environ) == before
    assert guardian.MARK not in environment()
    assert scratch.exists()


def test_a_cache_that_cannot_be_written_is_the_next_ones_matter() -> None:
    def refuse() -> Path:
        raise PermissionError("no")

    with guarded(refuse):
        assert guardian.MARK in run(["env"]).stdout
