"""An SSH key that the guest agent is given opens the default user's account, and does so no longer once it is taken
back: what KubeVirt does with ``accessCredentials`` (qemuGuestAgent), in a machine with a seed and in one without.

Where SELinux enforces, a boolean must let the agent write users' keys.
"""

from __future__ import annotations

from kmi.boot import ssh
from kmi.boot.agent import AgentError
from kmi.boot.checks.check import Check, Guest, with_agent
from kmi.boot.console import GaveUp
from kmi.model.agent import KEYS, KEYS_BOOLEAN
from kmi.model.checks import AGENT_KEYS, GUEST_AGENT
from kmi.model.metadata import Metadata

_LOOKS = 10
_PAUSE = 3.0
_SELINUX = f"cat /sys/fs/selinux/enforce 2>/dev/null; echo; cat /sys/fs/selinux/booleans/{KEYS_BOOLEAN} 2>/dev/null; :"
"""``1`` where SELinux enforces; the boolean's current and pending value (libselinux reads the same files)."""


def judge_selinux(said: str) -> str:
    """What follows in the report. GaveUp where SELinux enforces and its boolean is off or missing."""
    enforce, _, boolean = (part.strip() for part in said.partition("\n"))
    if enforce != "1":
        return ""
    if boolean.split()[:1] != ["1"]:
        raise GaveUp(f"SELinux enforces, and {KEYS_BOOLEAN} is {'off' if boolean else 'not in its policy'}")
    return f"; SELinux enforces, with {KEYS_BOOLEAN} on"


def _skip(metadata: Metadata) -> str | None:
    return with_agent(metadata) or (None if metadata["user"] else "the image has no default user")


def _run(guest: Guest) -> str:
    user = guest.metadata["user"]
    folder = guest.scratch / "agent-key"
    folder.mkdir()
    key = ssh.new_key(folder)
    try:
        if missing := sorted(KEYS - guest.agent.info().commands):
            raise GaveUp(f"the agent does not offer {', '.join(missing)}, by which KubeVirt gives keys")
        guest.agent.add_key(user, key.public)
        if key.public not in guest.agent.keys(user):
            raise GaveUp(f"the agent does not tell the key that it was given for {user}")
        ruled = judge_selinux(_let_in(guest, user, key))
        guest.agent.remove_key(user, key.public)
    except AgentError as error:
        raise GaveUp(f"{error} (user {user})") from error
    _turned_away(guest, user, key)
    return f"{user} logged in with a key that the agent was given, and not once it was taken back{ruled}"


def _let_in(guest: Guest, user: str, key: ssh.Key) -> str:
    """What the new key's login says of SELinux. GaveUp after some denials; a server that is not up yet is awaited."""
    denials = 0

    def login() -> str | None:
        nonlocal denials
        found = ssh.execute(_SELINUX, user=user, port=guest.machine.ssh_port, key=key)
        denials += ssh.denied(found)
        if denials >= _LOOKS:
            raise GaveUp(f"{user} is refused with the key that the agent was given: {found.stderr.strip()[:200]}")
        return found.stdout if found.status != ssh.UNREACHED else None

    return guest.wait(login, pause=_PAUSE)


def _turned_away(guest: Guest, user: str, key: ssh.Key) -> None:
    entries = 0

    def refused() -> bool | None:
        nonlocal entries
        found = ssh.execute("true", user=user, port=guest.machine.ssh_port, key=key)
        entries += found.status != ssh.UNREACHED
        if entries >= _LOOKS:
            raise GaveUp(f"{user} still logs in with the key that the agent took back")
        return True if ssh.denied(found) else None

    guest.wait(refused, pause=_PAUSE)


CHECK = Check(name=AGENT_KEYS, skip=_skip, run=_run, after=(GUEST_AGENT,))
