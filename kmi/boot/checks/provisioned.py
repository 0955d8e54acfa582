"""What the seed says is so in the guest: its name, the file that was to be written, the default user, and its key.

The key is the only one: any other in an image that starts for the first time is somebody's way in.
"""

from __future__ import annotations

import re

from kmi.boot.checks.check import Check, Given, Guest, Inapplicable, with_login
from kmi.boot.console import GaveUp
from kmi.boot.seed import WRITTEN
from kmi.model.checks import PROVISIONED, SSH

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_RULE = "--kmi--"
_SCRIPT = """
id -un {user} 2>&1
echo {rule}
uname -n
echo {rule}
head -c 4096 {written} 2>&1
echo {rule}
home=$(sed -n 's/^{user}:[^:]*:[^:]*:[^:]*:[^:]*:\\([^:]*\\):.*/\\1/p' /etc/passwd)
cat "$home/.ssh/authorized_keys" "$home"/.ssh/authorized_keys.d/* 2>/dev/null
:
"""
"""Ignition writes a file of its own in authorized_keys.d (Fedora CoreOS)."""


def judge(said: str, user: str, given: Given) -> str:
    """What the script printed, for the report. GaveUp for what is not as the seed says."""
    parts = [part.strip() for part in said.split(f"{_RULE}\n")]
    if len(parts) != 4:
        raise GaveUp(f"the guest tells what it is in a form that makes no sense: {said[-200:]!r}")
    name, hostname, written, keys = parts
    if name != user:
        raise GaveUp(f"there is no user {user}: {name[:100]!r}")
    if hostname.partition(".")[0] != given.hostname:
        raise GaveUp(f"the host name is {hostname[:100]!r}, expected {given.hostname!r}")
    if written != given.nonce:
        raise GaveUp(f"{WRITTEN} holds {written[:100]!r}, expected {given.nonce!r}")
    _judge_keys(keys, user, given.key.public)
    return f"user {user} with the seed's key alone, host name {hostname}, and the seed's file {WRITTEN}"


def _judge_keys(text: str, user: str, expected: str) -> None:
    lines = [line.strip() for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    wanted = expected.split()[:2]
    others = [line for line in lines if line.split()[:2] != wanted]
    if len(others) == len(lines):
        raise GaveUp(f"{user}'s authorized_keys does not have the seed's key but {len(lines)} other lines")
    if others:
        raise GaveUp(f"{user}'s authorized_keys has a key that is not the seed's: {others[0][:120]!r}")


def _run(guest: Guest) -> str:
    user = guest.metadata["user"]
    if guest.given is None:
        raise Inapplicable("there is no seed")
    if not _USER.fullmatch(user):
        raise GaveUp(f"no user can have the name that the image gives: {user[:100]!r}")
    return judge(guest.ask(_SCRIPT.format(user=user, written=WRITTEN, rule=_RULE)), user, guest.given)


CHECK = Check(name=PROVISIONED, skip=with_login, run=_run, after=(SSH,))
