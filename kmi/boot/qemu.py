"""A running virtual machine. It never outlives its ``with`` block, nor kmi itself."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from kmi.boot import display, firmware
from kmi.boot.agent import Agent, AgentError
from kmi.boot.hardware import SOCKET_LIMIT, Hardware, argv
from kmi.boot.qmp import Qmp
from kmi.errors import BuildError, Interrupted
from kmi.host.guarded import bequeath
from kmi.host.run import Background, stopping
from kmi.host.ui import plain

_START_SECONDS = 30.0
_ANSWER_SECONDS = 30.0
_GONE_SECONDS = 5.0
_LOOK_SECONDS = 0.5
_BY_GUEST = "guest-"
"""How QEMU's words for an end of the guest's own begin (qapi/run-state.json, ShutdownCause)."""
_LONGEST_SOCKET = "/serial.sock"
_SHORT = Path("/tmp")  # noqa: S108 -- the folder in it is made by mkdtemp
"""``TMPDIR`` leads into the cache (``kmi.host.guarded``), where paths are long."""


class Machine:
    """Start QEMU on entry, end it on exit, whatever happened. ``log`` gets the command line and QEMU's own words."""

    def __init__(self, hardware: Hardware, *, log: Path) -> None:
        self.hardware = hardware
        self.log = log
        self._process: Background | None = None
        self._control: Qmp | None = None
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
            self._control = self._connect()
            self._port = self._control.hostfwd()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    @property
    def ssh_port(self) -> int:
        """The port on 127.0.0.1 that leads to the guest's port 22."""
        return self._port

    def alive(self) -> bool:
        self.ended()  # reads what QEMU has told, so that it never waits for a reader
        return self._process is not None and self._process.alive()

    def ended(self) -> str | None:
        """Why the guest ended, in QEMU's word (qapi/run-state.json, ShutdownCause): ``guest-shutdown`` if it powered
        itself off, ``guest-reset`` if it rebooted after ``end_at_reset``, ``host-signal`` if kmi ended it, and
        ``unknown`` if QEMU went without a word. None as long as it runs."""
        if self._control is None or self._process is None:
            return None
        running = self._process.alive()  # before the look: QEMU's last word is there when it is gone
        return self._control.reason() or (None if running else "unknown")

    def blame(self) -> None:
        """BuildError, with QEMU's last words, if the machine ended and its guest did not end it: QEMU crashed, or
        somebody stopped it."""
        reason = self.ended()
        if reason is None or reason.startswith(_BY_GUEST):
            return
        words = self._process.tail() if self._process else ""
        raise BuildError(
            "QEMU ended, and not its guest",
            expected="a machine that runs until its guest or kmi ends it",
            got=f"{reason}: {plain(words)}" if words else f"{reason}, without a message",
            where=self.hardware.name,
            log=self.log,
        )

    def resets(self) -> int:
        """How often the guest has started over, as one does that labels its files or changes its kernel's command line
        at its first start."""
        return self._control.resets() if self._control else 0

    def end_at_reset(self) -> None:
        """From now on a guest that reboots ends the machine. BuildError if QEMU is gone."""
        self.call("set-action", reboot="shutdown")

    def wait(self, seconds: float) -> bool:
        """Whether the machine ended within ``seconds``. Interrupted if the run is to stop."""
        deadline = time.monotonic() + seconds
        while self._process and not self._process.wait(min(_LOOK_SECONDS, max(deadline - time.monotonic(), 0.0))):
            if stopping():
                raise Interrupted("stopped")
            if time.monotonic() >= deadline:
                return False
        return True

    def power_button(self) -> None:
        """Press the machine's power button (ACPI); one that ends in this moment is fine. BuildError if QEMU hangs."""
        try:
            self.call("system_powerdown")
        except BuildError:
            if not self.wait(_GONE_SECONDS):
                raise

    def screenshot(self, target: Path) -> None:
        """The display's contents as PNG. BuildError if the machine is gone, or the picture larger than is sensible."""
        display.screenshot(self._connected(), target)

    def call(self, command: str, **arguments: Any) -> Any:
        """A command of QEMU's control socket, which this machine keeps to itself. BuildError as ``Qmp.call``."""
        return self._connected().call(command, **arguments)

    def shutdown(self, *, agent: bool, grace: float) -> bool:
        """Ask the guest to power off, through its agent if it has one or else by the ACPI button. Whether it did so
        within ``grace`` seconds; if not, QEMU ends with the ``with`` block."""
        if not self._process or not self.alive():
            return False
        if not (agent and self._ask_agent()):
            with suppress(BuildError):
                self.power_button()
        return self.wait(grace)

    def _ask_agent(self) -> bool:
        try:
            Agent(self.hardware.agent).powerdown()
        except AgentError:
            return False
        return True

    def _connected(self) -> Qmp:
        if self._control is None:
            raise BuildError("the machine was never started", where=self.hardware.name)
        return self._control

    def _stop(self) -> None:
        if self._process:
            self._process.stop()
        if self._control:
            self._control.reason()  # QEMU's last word
            self._control.close()

    def _connect(self) -> Qmp:
        """The control socket, as soon as QEMU listens on it."""
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while self._process.alive() and time.monotonic() < deadline:
            try:
                return Qmp(self.hardware.qmp, timeout=_ANSWER_SECONDS)
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
