"""A guest ends when it is asked to, in the two ways that KubeVirt asks: ACPI's power button, and the agent's reboot.

The power button is libvirt's first way to stop a machine, before KubeVirt's grace period ends and it is cut off. What
ends the machine is QEMU's word for it, which only an orderly end of the guest's own makes ``guest-shutdown`` or
``guest-reset`` (a panic, or QEMU stopped from outside, is something else).
"""

from __future__ import annotations

import re
from dataclasses import replace

from kmi.boot.agent import AgentError
from kmi.boot.checks.check import Check, Guest, everywhere, with_agent
from kmi.boot.console import GaveUp
from kmi.model.checks import GUEST_AGENT, LOGIN_PROMPT, REBOOT, SHUTDOWN

_FORCED = re.compile(
    r"timed out\. (?:Killing|Forcing)|Forcibly (?:powering|rebooting)|Not all file systems unmounted"
    r"|Failed to (?:finalize|unmount) (?:file ?systems|/)|Kernel panic"
)
"""systemd (src/core/service.c, src/core/main.c, src/shutdown/shutdown.c) when it kills or gives up."""


def judge(reason: str, expected: str, console: str) -> None:
    """``console`` is what was written since the guest was asked. GaveUp."""
    if reason != expected:
        raise GaveUp(f"the machine ended by {reason}, expected {expected}")
    if forced := next(filter(_FORCED.search, console.split("\n")), None):
        raise GaveUp(f"not cleanly, by the console: {forced.strip()[:200]!r}")


def _shutdown(guest: Guest) -> str:
    before = len(guest.console.text())
    guest.machine.power_button()
    _await(guest, "guest-shutdown", before)
    return "powered off when the power button was pressed"


def _reboot(guest: Guest) -> str:
    before = len(guest.console.text())
    try:
        guest.agent.reboot()
    except AgentError as error:
        raise GaveUp(str(error)) from error
    _await(guest, "guest-reset", before)
    return "rebooted when the agent was asked for it"


def _await(guest: Guest, expected: str, before: int) -> None:
    """Until the machine has ended: as long as the console goes on. A guest that is up need not think it over."""
    patience = replace(guest.patience, quiet=guest.patience.least)
    judge(guest.wait(guest.machine.ended, patience=patience), expected, guest.console.text()[before:])


CHECKS = (
    Check(name=SHUTDOWN, skip=everywhere, run=_shutdown, after=(LOGIN_PROMPT,)),
    Check(name=REBOOT, skip=with_agent, run=_reboot, after=(GUEST_AGENT,)),
)
