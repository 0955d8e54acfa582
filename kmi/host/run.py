"""The only place that starts programs.

Every command is an argv list (no shell), runs without a terminal and in a cleaned environment, and dies with kmi
even when kmi is killed: itself by ``PR_SET_PDEATHSIG`` (prctl(2)), what it started by the guardian
(``kmi.host.guarded``). On failure the error carries the command, its exit status and the tail of what it printed, with
the secrets blanked.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sh

from kmi.errors import BuildError, HostError, Interrupted
from kmi.host import guarded
from kmi.host.guardian import MARK
from kmi.host.sink import Sink, blanked
from kmi.host.space import starved

_STOPPED = threading.Event()
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_KEPT = (MARK, "HOME", "PATH", "TMPDIR", "DOCKER_CONFIG", "DOCKER_HOST", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR",
         "XDG_CACHE_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy", "no_proxy",
         "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")  # fmt: skip
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a finished program left: its exit status and what it wrote, decoded as UTF-8."""

    status: int
    stdout: str
    stderr: str


def which(program: str) -> Path | None:
    """Where ``program`` is: beside this interpreter (a virtual environment's tools), on PATH, or in the system's."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which(program, path=os.pathsep.join([beside, os.environ.get("PATH", ""), _SYSTEM_PATH]))
    return Path(found) if found else None


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every child: a short list of inherited names, a fixed locale, and ``extra``."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    path = os.pathsep.join(filter(None, [kept.get("PATH", ""), _SYSTEM_PATH]))
    return {**kept, "PATH": path, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **(extra or {})}


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    log: Path | None = None,
    timeout: float | None = None,
    stuck: Callable[[int], bool] | None = None,
    ok: tuple[int, ...] = (0,),
    on_line: Callable[[str], None] | None = None,
    secrets: Sequence[str] = (),
    hint: str | None = None,
) -> Result:
    """Run a program to its end.

    ``log`` gets the command line and everything it prints; ``on_line`` sees each line as it comes (both streams);
    ``timeout`` is in seconds; ``stuck``, asked with the process's id, ends it as the timeout does. Raises HostError if
    the program is not there, BuildError if its exit status is not in ``ok`` or the time ran out.
    """
    words = [str(word) for word in argv]
    out, err = Sink(log, on_line, secrets), Sink(log, on_line, secrets)
    out.note(f"+ {shlex.join(words)}")
    process = _start(words, out, err, env=env, cwd=cwd, stdin=stdin)
    try:
        status = _wait(process, timeout, stuck)
    except BaseException:
        _kill_group(process.pid)
        raise
    finally:
        out.close()
        err.close()
    if unlogged := out.failed or err.failed:
        raise unlogged
    if status is not None and status in ok:
        return Result(status=status, stdout=out.text(), stderr=err.text())
    tail = "\n".join(err.tail() or out.tail())
    if no_room := starved(words, tail, cwd):
        raise no_room
    raise BuildError(
        f"{words[0]} {'ran out of time' if status is None else 'failed'}",
        expected=f"exit status {' or '.join(map(str, ok))}" + (f" within {timeout:g} s" if timeout else ""),
        got=f"{_describe(status)}\n{_indent(tail)}" if tail else _describe(status),
        where=blanked(shlex.join(words), secrets),
        hint=hint,
        log=log,
    )


def arm() -> None:
    """Put the run under guard, if it is one (``guarded``) and is not yet: before the first program starts."""
    guarded.arm(_detached)


def stop_all() -> None:
    """Have every program that another thread waits for end now; each wait raises Interrupted. There is no way back:
    for the end of a run, when Ctrl-C has reached the main thread and others still work."""
    _STOPPED.set()


def restart() -> None:
    """Let programs run again, once no other thread of the run is left: a crash report asks for their versions."""
    _STOPPED.clear()


def stopping() -> bool:
    """Whether ``stop_all`` was called: long waits of other rooms look at it."""
    return _STOPPED.is_set()


class Background:
    """A program that runs until ``stop``; its output goes to ``log``. Start it from a thread that outlives it."""

    def __init__(self, argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None) -> None:
        words = [str(word) for word in argv]
        self._sink = Sink(log, None, ())
        self._sink.note(f"+ {shlex.join(words)}")
        self.log = log
        self._process = _start(words, self._sink, self._sink, env=env)

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def alive(self) -> bool:
        return bool(self._process.is_alive())

    def tail(self) -> str:
        return "\n".join(self._sink.tail())

    def wait(self, timeout: float) -> bool:
        """Whether it ended within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.alive()

    def stop(self, grace: float = 5.0) -> None:
        """SIGTERM, and SIGKILL after ``grace`` seconds. Returns when it is gone."""
        if self.alive():
            _signal_group(self.pid, signal.SIGTERM)
            if not self.wait(grace):
                _kill_group(self.pid)
                self.wait(grace)
        self._sink.close()


def _start(
    words: list[str],
    out: Sink,
    err: Sink,
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
) -> sh.RunningCommand:
    """Start the program in a session of its own, so that its whole group can be ended."""
    path = which(words[0])
    if path is None:
        raise HostError(f"{words[0]} is not installed", hint="`kmi doctor` tells what is missing and what to install")
    arm()
    return sh.Command(str(path))(
        *words[1:],
        _env=environment(env),
        _cwd=str(cwd) if cwd else None,
        _in=stdin or b"",  # without it sh keeps the input open, and a program that reads it never ends
        _out=out.feed,
        _err=err.feed,
        _tty_out=False,
        _decode_errors="replace",  # else sh gives bytes for a line that is not UTF-8
        _new_session=True,
        _bg=True,
        _bg_exc=False,
        _no_out=True,
        _no_err=True,
        _preexec_fn=_die_with_parent,
    )


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _detached(words: list[str], stdin: int) -> int:
    """Start a Python program in a session of its own, with an empty environment and no output; returns its id."""
    files: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_DUP2, stdin, 0)]
    files += [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    return os.posix_spawn(sys.executable, [sys.executable, *words], {}, file_actions=files, setsid=True)


def _wait(process: sh.RunningCommand, timeout: float | None, stuck: Callable[[int], bool] | None) -> int | None:
    """The exit status, negative for a signal; None if the time ran out (the process group is then killed)."""
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = 0.002
    while process.is_alive():
        if _STOPPED.is_set():
            raise Interrupted("stopped")
        if (deadline is not None and time.monotonic() > deadline) or (stuck and stuck(process.pid)):
            _kill_group(process.pid)
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    try:
        process.wait()
    except sh.ErrorReturnCode:
        pass
    except sh.SignalException:
        pass
    return int(process.exit_code)


def _signal_group(pid: int, number: signal.Signals) -> None:
    """Signal the whole group: sh makes every child the leader of a session of its own."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _kill_group(pid: int) -> None:
    _signal_group(pid, signal.SIGKILL)


def _describe(status: int | None) -> str:
    if status is None:
        return "no end"
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"exit status {status}"


def _indent(text: str) -> str:
    return "\n".join("           " + line for line in text.splitlines())
