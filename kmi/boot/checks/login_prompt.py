"""From the firmware by way of the kernel to a login prompt on ttyS0, the console that ``virtctl console`` shows."""

from __future__ import annotations

from kmi.boot.checks.check import Check, Guest, everywhere
from kmi.boot.console import GaveUp
from kmi.model.checks import LOGIN_PROMPT


def _run(guest: Guest) -> str:
    def prompt() -> bool | None:
        if guest.console.login_prompt():
            return True
        if message := guest.console.dead_end():
            raise GaveUp(f"{message!r} on the console; it came as far as {guest.console.reached()}")
        return None

    guest.wait(prompt)
    return "login prompt on the serial console"


CHECK = Check(name=LOGIN_PROMPT, skip=everywhere, run=_run)
