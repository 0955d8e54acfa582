"""The guest agent tells the address that the network gave, which KubeVirt shows as the interface's
(guest-network-get-interfaces, ``status.interfaces``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kmi.boot.agent import AgentError
from kmi.boot.checks.check import Check, Guest, with_agent
from kmi.boot.console import GaveUp
from kmi.model.checks import AGENT_NETWORK, GUEST_AGENT

ADDRESS = "10.0.2.2"
"""What masquerade's DHCP gives (KubeVirt: network/configurator.go), and kmi's machine too."""

_LOOKS = 20


def judge(found: Mapping[str, Sequence[str]]) -> str | None:
    """For the report; None while no interface but the loopback has the address."""
    named = [name for name, addresses in found.items() if name not in ("lo", "lo0") and ADDRESS in addresses]
    return f"the agent tells {ADDRESS} on {named[0]}" if named else None


def _run(guest: Guest) -> str:
    looks = 0

    def told() -> str | None:
        nonlocal looks
        looks += 1
        try:
            found = guest.agent.addresses()
        except AgentError as error:
            raise GaveUp(str(error)) from error
        seen = judge(found)
        if seen is None and looks >= _LOOKS:
            rows = "; ".join(f"{name} {' '.join(addresses)}" for name, addresses in found.items())
            raise GaveUp(f"no interface has {ADDRESS}: {rows[:300] or 'there is none'}")
        return seen

    return guest.wait(told, pause=3.0)


CHECK = Check(name=AGENT_NETWORK, skip=with_agent, run=_run, after=(GUEST_AGENT,))
