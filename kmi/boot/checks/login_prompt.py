"""From the firmware by way of the kernel to a login prompt on ttyS0, the console that ``virtctl console`` shows."""

from __future__ import annotations

from contextlib import suppress

from kmi.boot.checks.check import Check, Guest, everywhere
from kmi.boot.console import GaveUp
from kmi.errors import BuildError
from kmi.model.checks import LOGIN_PROMPT

RESETS = 8
"""A guest may restart at its first start, to label its files or to change its kernel's command line, as in KubeVirt;
one that goes on and on never comes up. QEMU counts resets: SeaBIOS makes two of a restart (src/resume.c)."""


def _run(guest: Guest) -> str:
    try:
        return _prompt(guest)
    finally:
        with suppress(BuildError):  # it may be gone
            guest.machine.end_at_reset()  # what reboots from here on was told to, or is broken


def _prompt(guest: Guest) -> str:
    def prompt() -> bool | None:
        if guest.console.login_prompt():
            return True
        if guest.machine.resets() > RESETS:
            raise GaveUp(f"it restarts again and again; it came as far as {guest.console.reached()}")
        if message := guest.console.dead_end():
            raise GaveUp(f"{message!r} on the console; it came as far as {guest.console.reached()}")
        return None

    guest.wait(prompt)
    return "login prompt on the serial console" + (", after it restarted itself" if guest.machine.resets() else "")


CHECK = Check(name=LOGIN_PROMPT, skip=everywhere, run=_run)
