"""The guest agent answers, with the commands without which KubeVirt calls it unsupported."""

from __future__ import annotations

from kmi.boot.agent import AgentError
from kmi.boot.checks.check import Check, Guest
from kmi.boot.console import GaveUp
from kmi.model.checks import GUEST_AGENT
from kmi.model.metadata import Metadata

DEMANDED = frozenset({
    "guest-ping", "guest-get-time", "guest-info", "guest-shutdown", "guest-network-get-interfaces",
    "guest-get-fsinfo", "guest-get-host-name", "guest-get-users", "guest-get-timezone", "guest-get-osinfo",
})  # fmt: skip
"""KubeVirt: pkg/virt-handler/guestagent.go, ``RequiredGuestAgentCommands``."""


def _skip(metadata: Metadata) -> str | None:
    return "the image has no guest agent" if metadata["agent"] in ("", "absent") else None


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


CHECK = Check(name=GUEST_AGENT, skip=_skip, run=_run)
