"""A running virtual machine. It never outlives its ``with`` block, nor kmi itself."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from kmi.boot import firmware
from kmi.boot.agent import Agent, AgentError
from kmi.boot.hardware import SOCKET_LIMIT, Hardware, argv
from kmi.boot.qmp import Qmp
from kmi.errors import BuildError
from kmi.host.guarded import bequeath
from kmi.host.run import Background

_START_SECONDS = 30.0
_LONGEST_SOCKET = "/serial.sock"
_SHORT = Path("/tmp")  # noqa: S108 -- the folder in it is made by mkdtemp
"""``TMPDIR`` leads into the cache (``kmi.host.guarded``), where paths are long."""


class Machine:
    """Start QEMU on entry, end it on exit, whatever happened. ``log`` gets the command line and QEMU's own words."""

    def __init__(self, hardware: Hardware, *, log: Path) -> None:
        self.hardware = hardware
        self.log = log
        self._process: Background | None = None
        self._port = 0

    def __enter__(self) -> Machine:
        """BuildError if QEMU does not start, HostError if the host lacks it or the firmware."""
        pair = firmware.pair(self.hardware.arch, self.hardware.firmware)
        if pair:
            shutil.copyfile(pair[1], self.hardware.variables)
        self.hardware.console.parent.mkdir(parents=True, exist_ok=True)
        self.hardware.console.write_bytes(b"")
        self._process = Background(argv(self.hardware, pair[0] if pair else None), log=self.log)
        try:
            with self._connect() as qmp:
                self._port = qmp.hostfwd()
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process:
            self._process.stop()

    @property
    def ssh_port(self) -> int:
        """The port on 127.0.0.1 that leads to the guest's port 22."""
        return self._port

    def alive(self) -> bool:
        return self._process is not None and self._process.alive()

    def shutdown(self, *, agent: bool, grace: float) -> bool:
        """Ask the guest to power off, through its agent if it has one or else by the ACPI button. Whether it did so
        within ``grace`` seconds; if not, QEMU ends with the ``with`` block."""
        if not self._process or not self.alive():
            return False
        if not (agent and self._ask_agent()):
            self._press_power_button()
        return self._process.wait(grace)

    def _ask_agent(self) -> bool:
        try:
            Agent(self.hardware.agent).powerdown()
        except AgentError:
            return False
        return True

    def _press_power_button(self) -> None:
        try:
            with Qmp(self.hardware.qmp) as qmp:
                qmp.call("system_powerdown")
        except (BuildError, OSError):
            pass  # the guest went in this very moment

    def _connect(self) -> Qmp:
        """The control socket, as soon as QEMU listens on it."""
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while self._process.alive() and time.monotonic() < deadline:
            try:
                return Qmp(self.hardware.qmp)
            except OSError:
                time.sleep(0.05)
        raise BuildError(
            "QEMU did not start the machine",
            expected=f"a control socket within {_START_SECONDS:g} s",
            got=self._process.tail() or "no message",
            where=self.hardware.name,
            log=self.log,
        )


@contextmanager
def sockets(scratch: Path) -> Iterator[Path]:
    """A fresh folder for a machine's sockets: below ``scratch`` if their paths are short enough there, else below
    /tmp. Gone at the end of the block, and after a kill."""
    longest = len(os.fsencode(scratch.absolute())) + len("/kmi-vm-01234567") + len(_LONGEST_SOCKET)
    parent = scratch.absolute() if longest <= SOCKET_LIMIT else _SHORT
    with tempfile.TemporaryDirectory(prefix="kmi-vm-", dir=parent, ignore_cleanup_errors=True) as folder:
        if parent == _SHORT:
            bequeath(Path(folder))
        yield Path(folder)
