"""Whose unfinished work is whose: by a lock, not by a process id."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from kmi.host import owner
from kmi.host.store import Store

ROOT = Path(__file__).parents[3]
WORK = """
import sys, time
from pathlib import Path
from kmi.host.owner import owned, use
root = Path(sys.argv[1])
(owned(root) / "half").write_text("x")
use(root, "stage-of-mine")
print(owned(root), flush=True)
time.sleep(60)
"""
NAMESPACES = {"the same PID namespace": [], "another PID namespace": ["unshare", "--pid", "--fork", "--kill-child"]}


@pytest.fixture(params=NAMESPACES)
def worker(request: pytest.FixtureRequest, tmp_path: Path):
    """A process that works in the cache, as pid 1 of a container would."""
    (tmp_path / "tmp").mkdir()
    argv = [*NAMESPACES[request.param], sys.executable, "-c", WORK, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_a_living_owner_keeps_its_folder_and_a_dead_one_loses_it(worker, tmp_path: Path) -> None:
    process, folder = worker
    Store(tmp_path)
    assert (folder / "half").exists()
    assert owner.living(tmp_path)[folder] == {"stage-of-mine"}
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10  # unshare's child follows it a moment later
    while folder in owner.living(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    Store(tmp_path)
    assert not folder.exists()
    assert folder not in owner.living(tmp_path)


def test_one_that_was_killed_before_it_had_its_lock_is_dead(tmp_path: Path) -> None:
    Store(tmp_path)
    (tmp_path / "tmp" / "run-abcd_123").mkdir()
    Store(tmp_path)
    assert not (tmp_path / "tmp" / "run-abcd_123").exists()


def test_what_kmi_did_not_make_is_not_touched(tmp_path: Path) -> None:
    """A cache folder that is set to /var would have a tmp with other people's things in it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").write_text("x")
    theirs = [tmp_path / "tmp" / name for name in ("run-1", "systemd-private", "run-abcdefgh", "run-linkedto")]
    theirs[1].mkdir(parents=True)
    theirs[2].mkdir()
    (theirs[2] / "notes").write_text("no owner.lock beside")
    theirs[0].write_text("x")
    theirs[3].symlink_to(elsewhere)
    Store(tmp_path)
    assert all(path.exists() for path in theirs)
    assert (elsewhere / "file").exists()


def test_an_ended_process_leaves_nothing(tmp_path: Path) -> None:
    script = WORK.replace("time.sleep(60)", "")
    told = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, cwd=ROOT)
    assert told.returncode == 0, told.stderr
    assert list((tmp_path / "tmp").iterdir()) == []
