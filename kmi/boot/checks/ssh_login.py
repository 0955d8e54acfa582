"""The key in the seed opens the default user's account."""

from __future__ import annotations

from kmi.boot.checks.check import Check, Guest, with_login
from kmi.boot.console import GaveUp
from kmi.boot.ssh import UNREACHED, execute
from kmi.model.checks import SSH

_DENIALS = 10


def _run(guest: Guest) -> str:
    user, denials = guest.metadata["user"], 0

    def login() -> str | None:
        nonlocal denials
        found = execute("id -un", user=user, port=guest.machine.ssh_port, key=guest.key)
        if found.status != UNREACHED:
            return found.stdout.strip()
        if "Permission denied" in found.stderr:
            denials += 1  # for a while: sshd may be up before cloud-init has written the key
        if denials >= _DENIALS:
            raise GaveUp(f"{user}'s key was refused {denials} times: {found.stderr.strip()[:200]}")
        return None

    name = guest.wait(login, pause=3.0)
    if name != user:
        raise GaveUp(f"logged in as {user}, but `id -un` says {name!r}")
    return f"{user} logged in with a key"


CHECK = Check(name=SSH, skip=with_login, run=_run)
