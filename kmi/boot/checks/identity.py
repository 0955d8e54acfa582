"""No two machines of one image are the same: each makes its machine-id and its SSH host keys at its first boot.

A machine-id that is baked in gives all clones one DHCP lease (machine-id(5)); baked-in host keys let anybody with the
image pose as any of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from kmi.boot import ssh
from kmi.boot.agent import AgentError
from kmi.boot.checks.check import Guest
from kmi.boot.console import GaveUp
from kmi.model.checks import IDENTITY
from kmi.model.stages import CheckResult, Outcome

_MACHINE_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a guest was on one boot: ``machine`` names the boot; ``machine_id`` is empty where nobody could ask for it,
    ``host_keys`` are lines ``type base64``."""

    machine: str
    machine_id: str
    host_keys: tuple[str, ...]


def of(guest: Guest) -> Identity:
    """Ask by whatever way is open: the keys by an SSH scan, the machine-id through SSH or the agent."""
    return Identity(
        machine=guest.machine.hardware.name,
        machine_id=_machine_id(guest),
        host_keys=_settled_keys(guest.machine.ssh_port),
    )


def compare(machine: str, seen: Sequence[Identity]) -> CheckResult:
    """The result of the check over all boots of one image."""
    outcome, detail = _judge(seen)
    return CheckResult(check=IDENTITY, machine=machine, outcome=outcome, detail=detail, seconds=0.0)


def _judge(seen: Sequence[Identity]) -> tuple[Outcome, str]:
    shared = [text for one, other in combinations(seen, 2) for text in _same(one, other)]
    if shared:
        return Outcome.FAILED, "; ".join(shared)
    ids = sum(1 for one in seen if one.machine_id)
    keys = sum(1 for one in seen if one.host_keys)
    if max(ids, keys) < 2:
        return Outcome.SKIPPED, "fewer than two boots told who they are"
    told = [f"{count} {what}" for count, what in ((ids, "machine-ids"), (keys, "sets of SSH host keys")) if count > 1]
    return Outcome.PASSED, f"{' and '.join(told)}, all different"


def _same(one: Identity, other: Identity) -> list[str]:
    where = f"on {one.machine} and {other.machine}"
    same = []
    if one.machine_id and one.machine_id == other.machine_id:
        same.append(f"machine-id {one.machine_id} {where}")
    if both := sorted({key.split()[0] for key in set(one.host_keys) & set(other.host_keys)}):
        same.append(f"the same host keys ({', '.join(both)}) {where}")
    return same


def _machine_id(guest: Guest) -> str:
    """Empty where neither the agent nor SSH lets anybody read it; such an agent is tried first, as it asks no login."""
    try:
        status, text = guest.agent.exec(["cat", "/etc/machine-id"])
        if status == 0 and _MACHINE_ID.fullmatch(text.strip()):
            return text.strip()
    except AgentError:
        pass  # none, or its filter forbids guest-exec
    if guest.given is None:
        return ""
    try:
        text = guest.ask("cat /etc/machine-id").strip()
    except GaveUp:
        return ""
    return text if _MACHINE_ID.fullmatch(text) else ""


def _settled_keys(port: int) -> tuple[str, ...]:
    """The host keys once two scans agree: a busy guest drops connections, and a scan then lacks a key."""
    found: tuple[str, ...] = ()
    for _ in range(3):
        scanned = ssh.host_keys(port)
        if scanned == found:
            break
        found = scanned
    return found
