"""What real tools leave when they are stopped: libguestfs's appliance, and namespaces in which a bootstrap mounts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kmi.bootstrap.debian import _confined
from kmi.errors import HostError
from kmi.host import guardian, guestfs
from kmi.host.accel import Acceleration
from kmi.host.run import Background
from tests import living

TCG = Acceleration(name="tcg", cpu="max", why="the test does not depend on the host")
APPLIANCE = """
import sys, time
from pathlib import Path
from kmi.host.accel import Acceleration
from kmi.host.guarded import guarded
from kmi.host.guestfs import appliance
from kmi.host.store import Store, owned
folder = Path(sys.argv[1])
cache = folder / "cache"
Store(cache)
with guarded(lambda: owned(cache)):
    tcg = Acceleration(name="tcg", cpu="max", why="the test does not depend on the host")
    with appliance([folder / "disk"], acceleration=tcg, cache=cache, log=folder / "log"):
        print("up", flush=True)
        time.sleep(300)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.touch()
    os.truncate(path, 1 << 20)
    return path


def test_nothing_of_a_killed_appliance_is_left(tmp_path: Path, disk: Path) -> None:
    argv = [sys.executable, "-c", APPLIANCE, str(tmp_path)]
    with subprocess.Popen(argv, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n", (tmp_path / "log").read_text()
        family = living.family(process.pid)
        folders = {folder for text in family.values() for folder in guardian._SOCKETS.findall(text.encode())}
        assert len(folders) == 1, family
        (sockets,) = (Path(os.fsdecode(folder)) for folder in folders)
        assert sockets.is_dir()
        process.kill()
    assert living.left(family, tmp_path, 10) == {}
    assert not sockets.exists()


def test_an_appliance_that_does_not_come_up_is_given_up(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guestfs, "LAUNCH_SECONDS", 1.0)
    cache = tmp_path / "cache"
    began = time.monotonic()
    with pytest.raises(HostError, match="does not start") as caught:
        with guestfs.appliance([disk], acceleration=TCG, cache=cache, log=tmp_path / "log"):
            pytest.fail("launched within a second")
    assert caught.value.expected == "a running appliance within 1 s"
    assert "nothing after 1 s" in str(caught.value.got)
    assert time.monotonic() - began < 10
    assert [text for text in living.family(os.getpid()).values() if str(cache) in text] == []


def test_a_bootstrap_mounts_where_nobody_sees_it_and_ends_as_a_whole(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before, made = _confined(scratch)
    assert made.parent == Path("/tmp")
    script = "mkdir /tmp/m && mount -t tmpfs none /tmp/m && touch /tmp/m/seen && touch /tmp/up; setsid sleep 300 & wait"
    program = Background([*before, "sh", "-c", script], log=tmp_path / "log")
    deadline = time.monotonic() + 10
    while not (scratch / "up").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (scratch / "up").exists(), program.tail()
    assert living.mounts(tmp_path) == []
    assert list((scratch / "m").iterdir()) == []
    family = living.family(program.pid)
    assert any("sleep 300" in words for words in family.values())
    os.kill(program.pid, signal.SIGKILL)
    assert living.left(family, scratch, 5) == {}
    program.stop()
    shutil.rmtree(scratch)
