"""Commands as root in a guest, by one SSH connection for all of them: each login costs an emulated guest seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from kmi.boot import ssh
from kmi.boot.ssh import Key
from kmi.errors import BuildError, Interrupted
from kmi.host.run import Background, Result, run, stopping

_AS_ROOT = (
    'if [ "$(id -u)" = 0 ]; then exec sh -s; elif command -v sudo >/dev/null; then exec sudo -n sh -s; '
    "else exec doas -n sh -s; fi"
)
_OPENED_SECONDS = 90.0


@dataclass(kw_only=True)
class Session:
    """The default user's connection; opened at the first command, again if it broke, and closed with the ``with``
    block. ``folder`` is short enough for a socket and takes the connection's own log."""

    user: str
    port: int
    key: Key
    folder: Path
    _master: Background | None = field(default=None, init=False)

    def root(self, script: str, *, seconds: float) -> Result:
        """Run a shell script; it is given on the shell's standard input. Status 255 if the guest is not reached, or the
        script is not done in time, or answers with more than ``ssh.LIMIT`` bytes."""
        self._open()
        *words, destination = ssh.command(user=self.user, port=self.port, key=self.key)
        argv = [*words, "-S", self._socket, destination, _AS_ROOT]
        try:
            return run(argv, stdin=script.encode(), timeout=seconds, stuck=self._flooded, ok=tuple(range(256)))
        except BuildError as error:
            self._close()  # with what still runs in the guest, and the count of what came
            return Result(status=ssh.UNREACHED, stdout="", stderr=error.what)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    @property
    def _socket(self) -> Path:
        return self.folder / "ssh.sock"

    def _open(self) -> None:
        """Where the connection does not come up, each command makes its own (ssh_config(5), ControlPath)."""
        if self._master and self._master.alive():
            return
        self._close()
        self._socket.unlink(missing_ok=True)
        *words, destination = ssh.command(user=self.user, port=self.port, key=self.key)
        self._master = Background([*words, "-M", "-N", "-S", self._socket, destination], log=self.folder / "ssh.log")
        deadline = time.monotonic() + _OPENED_SECONDS
        while self._master.alive() and not self._socket.exists() and time.monotonic() < deadline:
            if stopping():
                raise Interrupted("stopped")
            time.sleep(0.1)

    def _close(self) -> None:
        if self._master:
            self._master.stop()
            self._master = None

    def _flooded(self, pid: int) -> bool:
        """A shared connection is read by the one that holds it."""
        return ssh.flooded(pid) or bool(self._master and ssh.flooded(self._master.pid))
