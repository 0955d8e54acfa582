"""A root shell over one connection. The server is *simulated*: ``ssh`` on PATH is a script that does what OpenSSH's
client does with ``-M``, ``-N`` and ``-S`` (ssh(1)) and runs the remote command here; real guests see the real one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kmi.boot.session import Session
from kmi.boot.ssh import UNREACHED, Key
from kmi.errors import Interrupted

SIMULATED = """#!/bin/sh
here=$(dirname "$0")
for word; do last=$word; done
case " $* " in
*" -N "*)
  echo "$$" >>"$here/masters"
  if [ -e "$here/refuse" ]; then echo "Connection refused" >&2; exit 255; fi
  while [ "$1" != -S ]; do shift; done
  exec python3 -c 'import socket, sys, time
with socket.socket(socket.AF_UNIX) as s: s.bind(sys.argv[1]); time.sleep(600)' "$2"
  ;;
esac
if [ -e "$here/down" ]; then echo "Connection closed" >&2; exit 255; fi
exec sh -c "$last"
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a script on PATH, and ``ssh`` before anything else."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def put(name: str, text: str) -> Path:
        path = folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    put("ssh", SIMULATED)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return put


@pytest.fixture
def session(programs: Callable[[str, str], Path], tmp_path: Path) -> Iterator[Session]:
    key = Key(private=tmp_path / "id", public="")
    with Session(user="debian", port=1, key=key, folder=tmp_path) as opened:
        yield opened


def masters(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "bin" / "masters").read_text().split()]


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


def test_a_script_comes_on_standard_input_and_its_status_back(session):
    found = session.root('x=\'a "quoted" $word\'\necho "$x"\necho two >&2; exit 3', seconds=20)
    assert (found.status, found.stdout, found.stderr) == (3, 'a "quoted" $word\n', "two\n")


def test_all_commands_share_one_connection_that_ends_with_the_block(programs, tmp_path):
    with Session(user="debian", port=1, key=Key(private=tmp_path / "id", public=""), folder=tmp_path) as session:
        assert [session.root(f"echo {n}", seconds=20).stdout for n in (1, 2, 3)] == ["1\n", "2\n", "3\n"]
        (pid,) = masters(tmp_path)
        assert Path(f"/proc/{pid}").exists()
    assert gone(pid)


def test_a_connection_that_broke_is_opened_again(session, tmp_path):
    session.root("true", seconds=20)
    (first,) = masters(tmp_path)
    os.kill(first, 9)
    assert gone(first)
    assert session.root("echo back", seconds=20).stdout == "back\n"
    assert len(masters(tmp_path)) == 2


def test_without_a_shared_connection_each_command_has_its_own(session, tmp_path):
    (tmp_path / "bin" / "refuse").touch()
    began = time.monotonic()
    assert session.root("echo alone", seconds=20).stdout == "alone\n"
    assert time.monotonic() - began < 10


def test_a_guest_that_is_not_reached_says_so(session, tmp_path):
    (tmp_path / "bin" / "down").touch()
    found = session.root("echo never", seconds=20)
    assert (found.status, found.stdout) == (UNREACHED, "")
    assert "Connection closed" in found.stderr


def test_a_script_that_does_not_end_is_ended(session):
    began = time.monotonic()
    found = session.root("exec sleep 60", seconds=1)
    assert found.status == UNREACHED and "ran out of time" in found.stderr
    assert time.monotonic() - began < 20


def test_an_answer_without_end_is_ended(session):
    began = time.monotonic()
    assert session.root("exec cat /dev/zero", seconds=60).status == UNREACHED
    assert time.monotonic() - began < 30
    assert session.root("echo next", seconds=20).stdout == "next\n"


def test_the_connection_itself_that_takes_in_too_much_is_ended(session, tmp_path, monkeypatch):
    session.root("true", seconds=20)
    (first,) = masters(tmp_path)
    monkeypatch.setattr("kmi.boot.ssh.flooded", lambda pid: pid == first)
    began = time.monotonic()
    assert session.root("sleep 60", seconds=60).status == UNREACHED
    assert time.monotonic() - began < 30
    assert gone(first)
    assert session.root("echo next", seconds=20).stdout == "next\n"


@pytest.mark.parametrize("way", ["sudo", "doas"])
def test_who_is_not_root_becomes_it(session, programs, monkeypatch, tmp_path, way):
    programs("id", "#!/bin/sh\necho 1000\n")
    programs(way, f'#!/bin/sh\necho "{way} $*"\nshift\nexec "$@"\n')
    monkeypatch.setattr("kmi.host.run._SYSTEM_PATH", "/nonexistent")  # where this machine has a sudo of its own
    for name in ("sh", "dirname", "python3", "env"):
        programs(name, f'#!/bin/sh\nexec /usr/bin/{name} "$@"\n')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = session.root("echo done", seconds=20)
    assert found.stdout == f"{way} -n sh -s\ndone\n"


def test_a_connection_that_does_not_come_up_is_not_awaited_once_the_run_stops(session, programs, monkeypatch):
    """What is awaited is a shared connection whose socket never appears."""
    programs("ssh", "#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr("kmi.boot.session.stopping", lambda: True)
    began = time.monotonic()
    with pytest.raises(Interrupted):
        session.root("true", seconds=1)
    assert time.monotonic() - began < 10
