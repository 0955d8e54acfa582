"""The checks that a cluster lets kmi make of a guest (``kmi.model.checks``, those marked ``cluster``)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kmi.boot.checks import cloud_init
from kmi.boot.checks.check import everywhere, with_agent, with_login
from kmi.boot.console import Console, GaveUp, Patience, wait
from kmi.boot.seed import WRITTEN, SeedKind
from kmi.boot.ssh import UNREACHED, Key, execute
from kmi.host.run import Result
from kmi.host.ui import plain
from kmi.kubevirt import state
from kmi.kubevirt.trial import Live
from kmi.model.checks import CLOUD_INIT, GUEST_AGENT, LOGIN_PROMPT, SSH, due
from kmi.model.metadata import Metadata
from kmi.model.stages import CheckResult, Outcome

_DETAIL = 500
_DENIALS = 10

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A machine in a cluster, and what its seed (of ``kind``) told it."""

    live: Live
    console: Console
    patience: Patience
    key: Key
    nonce: str
    kind: SeedKind | None
    metadata: Metadata
    told: Callable[[str], None]

    def wait(self, poll: Callable[[], T | None], *, pause: float = 1.0) -> T:
        """GaveUp."""
        running = self.live.running
        return wait(poll, console=self.console, alive=running, patience=self.patience, told=self.told, pause=pause)

    def ssh(self, script: str) -> Result:
        return execute(script, user=self.metadata["user"], port=self.live.ssh_port, key=self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    skip: Callable[[Metadata], str | None]
    run: Callable[[Guest], str]


def judged(guest: Guest, machine: str, told: Callable[[str], None]) -> tuple[CheckResult, ...]:
    """Every check that is due on ``machine``, in order."""
    results: list[CheckResult] = []
    for name in due(machine):
        began = time.monotonic()
        outcome, detail = _outcome(_CHECKS[name], guest)
        detail = plain(" ".join(detail.split()))[:_DETAIL]  # the guest's words, in part
        told(f"{machine} {name} {outcome}: {detail}")
        seconds = round(time.monotonic() - began, 3)
        results.append(CheckResult(check=name, machine=machine, outcome=outcome, detail=detail, seconds=seconds))
    return tuple(results)


def _outcome(check: _Check, guest: Guest) -> tuple[Outcome, str]:
    if reason := check.skip(guest.metadata):
        return Outcome.SKIPPED, reason
    try:
        return Outcome.PASSED, check.run(guest)
    except GaveUp as error:
        return Outcome.FAILED, str(error)


def _login_prompt(guest: Guest) -> str:
    def prompt() -> bool | None:
        if guest.console.login_prompt():
            return True
        if message := guest.console.dead_end():
            raise GaveUp(f"{message!r} on the console; it came as far as {guest.console.reached()}")
        return None

    try:
        guest.wait(prompt)
    except GaveUp as error:
        trouble = guest.live.recorder.trouble
        raise GaveUp(f"{error}; the console's connection: {trouble}" if trouble else str(error)) from error
    finally:
        guest.live.recorder.hush()
    return "login prompt on the serial console (subresource console)"


def _guest_agent(guest: Guest) -> str:
    """KubeVirt: pkg/virt-handler/vm.go sets AgentConnected, and AgentVersionNotSupported where commands are missing."""
    guest.wait(lambda: guest.live.agent_connected() or None)
    if state.condition(guest.live.instance(), "AgentVersionNotSupported"):
        raise GaveUp("the agent is connected, but KubeVirt says that it does not support the commands that it needs")
    found = guest.wait(guest.live.guest_os, pause=2.0)
    system = state.text(found, "os", "prettyName") or state.text(found, "os", "name")
    if not system:
        raise GaveUp("the agent is connected, but names no system (subresource guestosinfo)")
    return f"version {state.text(found, 'guestAgentVersion') or 'unknown'} is connected and reports {system}"


def _ssh(guest: Guest) -> str:
    user, denials = guest.metadata["user"], 0

    def login() -> str | None:
        nonlocal denials
        found = guest.ssh("id -un")
        if found.status != UNREACHED:
            return found.stdout.strip()
        if "Permission denied" in found.stderr:
            denials += 1  # for a while: sshd may be up before the seed's key is there
        if denials >= _DENIALS:
            raise GaveUp(f"{user}'s key was refused {denials} times: {found.stderr.strip()[:200]}")
        return None

    try:
        name = guest.wait(login, pause=3.0)
    except GaveUp as error:
        trouble = guest.live.tunnel.trouble
        raise GaveUp(f"{error}; the forwarded port: {trouble}" if trouble else str(error)) from error
    if name != user:
        raise GaveUp(f"logged in as {user}, but `id -un` says {name!r}")
    return f"{user} logged in with a key (subresource portforward)"


def _provisioned(guest: Guest) -> str:
    """cloud-init's own record where the seed is NoCloud; else that the file which the seed asks for is written."""
    if guest.kind is SeedKind.NOCLOUD:
        return cloud_init.judge(guest.wait(lambda: _read(guest, cloud_init.RESULT), pause=3.0))
    found = guest.wait(lambda: _read(guest, WRITTEN), pause=3.0).strip()
    if found != guest.nonce:
        raise GaveUp(f"{WRITTEN} is there, but holds {found[:80]!r} instead of what the seed says")
    return f"the file that the seed asks for is written ({guest.kind})"


def _read(guest: Guest, path: str) -> str | None:
    found = guest.ssh(f"cat {path}")
    return found.stdout if found.status == 0 else None


_CHECKS = {
    LOGIN_PROMPT: _Check(skip=everywhere, run=_login_prompt),
    GUEST_AGENT: _Check(skip=with_agent, run=_guest_agent),
    SSH: _Check(skip=with_login, run=_ssh),
    CLOUD_INIT: _Check(skip=with_login, run=_provisioned),
}
