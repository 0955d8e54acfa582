"""How a machine ends, by QEMU's word and by what the console says on the way."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from kmi.boot.agent import AgentError
from kmi.boot.checks import ending
from kmi.boot.checks.ending import judge
from kmi.boot.console import GaveUp

SHUTDOWN, REBOOT = ending.CHECKS
LAST = "[  OK  ] Reached target poweroff.target.\n[  120.1] reboot: Power down\n"
BEFORE = "debian login: ssh.service: State 'stop-sigterm' timed out. Killing.\n"


def machine(reason: str | None, console: str = LAST) -> SimpleNamespace:
    """A machine that ends for this reason some looks after it was asked, with these last words."""
    state = SimpleNamespace(pressed=0, looks=0)

    def ended() -> str | None:
        state.looks += 1
        return reason if state.pressed and state.looks > 3 else None

    def press() -> None:
        state.pressed += 1

    text = lambda: BEFORE + (console if state.pressed else "")  # noqa: E731
    return SimpleNamespace(ended=ended, power_button=press, state=state, console=SimpleNamespace(text=text))


def ends(
    guest: Callable[..., SimpleNamespace], one: SimpleNamespace, refusal: AgentError | None = None
) -> SimpleNamespace:
    def reboot() -> None:
        if refusal:
            raise refusal
        one.power_button()

    return guest(machine=one, console=one.console, agent=SimpleNamespace(reboot=reboot))


def test_a_guest_that_powers_off_passes_whatever_it_said_before(guest) -> None:
    assert "powered off" in SHUTDOWN.run(ends(guest, machine("guest-shutdown")))


def test_a_guest_that_reboots_passes(guest) -> None:
    assert "rebooted" in REBOOT.run(ends(guest, machine("guest-reset")))


@pytest.mark.parametrize("reason", ["guest-reset", "guest-panic", "host-qmp-quit", "host-signal", "unknown"])
def test_another_end_than_power_off_fails(guest, reason: str) -> None:
    with pytest.raises(GaveUp, match=f"ended by {reason}, expected guest-shutdown"):
        SHUTDOWN.run(ends(guest, machine(reason)))


@pytest.mark.parametrize("reason", ["guest-shutdown", "guest-panic", "unknown"])
def test_another_end_than_reboot_fails(guest, reason: str) -> None:
    with pytest.raises(GaveUp, match=f"ended by {reason}, expected guest-reset"):
        REBOOT.run(ends(guest, machine(reason)))


def test_a_guest_that_does_not_heed_the_button_fails(guest) -> None:
    one = machine(None)
    with pytest.raises(GaveUp, match="silent"):
        SHUTDOWN.run(ends(guest, one))
    assert one.state.pressed == 1


@pytest.mark.parametrize(
    "line",
    [
        "systemd[1]: ssh.service: State 'stop-sigterm' timed out. Killing.",
        "systemd[1]: Forcibly powering off: job timed out",
        "systemd-shutdown[1]: Not all file systems unmounted, 1 left.",
        "systemd-shutdown[1]: Failed to finalize file systems, ignoring.",
    ],
)
def test_a_forced_end_fails_by_its_line(line: str) -> None:
    with pytest.raises(GaveUp, match="not cleanly"):
        judge("guest-shutdown", "guest-shutdown", f"[ OK ] Stopped\n[  99.0] {line}\n{LAST}")


def test_an_orderly_end_with_its_usual_words_passes() -> None:
    usual = (
        "systemd-shutdown[1]: Sending SIGTERM to remaining processes...\nSending SIGKILL to remaining processes...\n"
    )
    judge("guest-shutdown", "guest-shutdown", usual + LAST)


def test_an_agent_that_denies_the_reboot_fails(guest) -> None:
    refusal = AgentError("the guest agent refuses guest-shutdown: disabled", refused=True)
    with pytest.raises(GaveUp, match="refuses guest-shutdown"):
        REBOOT.run(ends(guest, machine("guest-reset"), refusal))


def test_a_huge_last_line_is_judged_in_time() -> None:
    huge, began = "x" * (1 << 20), time.monotonic()
    judge("guest-shutdown", "guest-shutdown", huge)
    with pytest.raises(GaveUp, match="not cleanly") as caught:
        judge("guest-shutdown", "guest-shutdown", f"Failed to unmount /: {huge}")
    assert time.monotonic() - began < 5 and len(str(caught.value)) < 300
