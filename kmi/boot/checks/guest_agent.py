"""The guest agent answers, with the commands without which KubeVirt calls it unsupported."""

from __future__ import annotations

from kmi.boot.agent import AgentError
from kmi.boot.checks.check import Check, Guest, with_agent
from kmi.boot.console import GaveUp
from kmi.model.agent import DEMANDED
from kmi.model.checks import GUEST_AGENT


def _run(guest: Guest) -> str:
    guest.wait(lambda: guest.agent.ping() or None)
    try:
        info = guest.agent.info()
        missing = sorted(DEMANDED - info.commands)
        if missing:
            raise GaveUp(f"version {info.version} does not offer {', '.join(missing)}, which KubeVirt demands")
        system = guest.agent.system() or "an unnamed system"
    except AgentError as error:
        raise GaveUp(str(error)) from error
    return f"version {info.version} offers all {len(DEMANDED)} commands that KubeVirt demands and reports {system}"


CHECK = Check(name=GUEST_AGENT, skip=with_agent, run=_run)
