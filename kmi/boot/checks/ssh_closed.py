"""Nobody gets in with a password, nor as root.

Whether a password may be tried is what the server says itself: it answers a login without any proof by the methods with
which it may go on (RFC 4252, 5.1). cloud-init gives root the seed's key with a command that only tells to log in as the
default user (cloud.cfg, ``disable_root``).
"""

from __future__ import annotations

from kmi.boot import ssh
from kmi.boot.checks.check import Check, Guest, with_login
from kmi.boot.console import GaveUp
from kmi.host.run import Result
from kmi.model.checks import SSH, SSH_CLOSED

_BY_PASSWORD = frozenset({"password", "keyboard-interactive", "none"})
_REDIRECTED = "Please login as"
_PAUSE = 3.0
"""Servers put off a client that has failed several times (sshd_config(5), PerSourcePenalties): they are asked again."""


def judge_methods(user: str, offered: frozenset[str]) -> None:
    """GaveUp if one of the methods takes a password or nothing at all."""
    if "none" in offered:
        raise GaveUp(f"{user} logged in over SSH without any proof")
    if wrong := sorted(offered & _BY_PASSWORD):
        raise GaveUp(f"SSH lets {user} try {' and '.join(wrong)}; expected keys alone")


def judge_root(tried: Result) -> str | None:
    """How root's login with the seed's key was turned away; None if the server did not say. GaveUp if it was not."""
    if ssh.denied(tried):
        return "its login is refused"
    if tried.status == ssh.UNREACHED:
        return None
    said = f"{tried.stdout}\n{tried.stderr}"
    if _REDIRECTED in said and "0" not in tried.stdout.split():
        return "it is told to log in as the default user"
    raise GaveUp(f"the seed's key logs in as root: `id -u` ended with {tried.status} and said {said.strip()[:100]!r}")


def _run(guest: Guest) -> str:
    user = guest.metadata["user"]
    _look(guest, user)
    if user == "root":
        return "SSH takes keys alone; root is the image's default user"
    _look(guest, "root")
    port = guest.machine.ssh_port
    how = guest.wait(lambda: judge_root(ssh.execute("id -u", user="root", port=port, key=guest.key)), pause=_PAUSE)
    return f"SSH takes keys alone, and of root {how}"


def _look(guest: Guest, user: str) -> None:
    judge_methods(user, guest.wait(lambda: ssh.methods(user=user, port=guest.machine.ssh_port), pause=_PAUSE))


CHECK = Check(name=SSH_CLOSED, skip=with_login, run=_run, after=(SSH,))
