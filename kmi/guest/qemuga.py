"""The guest agent's filter admits what KubeVirt asks for.

Red Hat's and SUSE's packages start qemu-ga with a list of commands in /etc/sysconfig/qemu-ga: ``BLACKLIST_RPC`` or
``--block-rpcs=`` (all but these), or ``--allow-rpcs=`` (only these). Anybody may have one in /etc/qemu/qemu-ga.conf
(qemu-ga(8)). What is not KubeVirt's, such as guest-exec, stays as the distribution has it.
"""

from __future__ import annotations

import re

from kmi.guest.files import put, read
from kmi.host.guestfs import Appliance
from kmi.model.agent import DEMANDED, KEYS

FILTERS = ("/etc/sysconfig/qemu-ga", "/etc/qemu/qemu-ga.conf")
_LIMIT = 64 << 10
_NEEDED = DEMANDED | KEYS | {"guest-sync", "guest-sync-delimited"}
_BLOCKED = re.compile(r"""((?:BLACKLIST_RPC=|--block-rpcs=|--blacklist=|^block-rpcs\s*=\s*|^blacklist\s*=\s*)["']?)"""
                      r"([a-z0-9,;-]+)")  # fmt: skip
_ALLOWED = re.compile(r"""((?:--allow-rpcs=|^allow-rpcs\s*=\s*)["']?)([a-z0-9,;-]+)""")
_COMMAND = re.compile(r"guest-[a-z0-9-]+")


def admit(guest: Appliance) -> None:
    """Mend the filters of the mounted guest, where one keeps a command from KubeVirt."""
    for path in FILTERS:
        if guest.is_file(path, followsymlinks=False):
            before = read(guest, path, limit=_LIMIT).decode("utf-8", "surrogateescape")
            after = admitting(before)
            if after != before:
                put(guest, path, after.encode("utf-8", "surrogateescape"))


def admitting(text: str) -> str:
    """The same file with KubeVirt's commands gone from lists of blocked ones, and added to lists of allowed ones."""
    return "\n".join(line if line.lstrip().startswith("#") else _line(line) for line in text.split("\n"))


def _line(line: str) -> str:
    return _ALLOWED.sub(_more, _BLOCKED.sub(_fewer, line))


def _fewer(match: re.Match[str]) -> str:
    names = _COMMAND.findall(match[2])
    kept = [name for name in names if name not in _NEEDED]
    return match[0] if kept == names else match[1] + _separator(match[2]).join(kept)


def _more(match: re.Match[str]) -> str:
    names = _COMMAND.findall(match[2])
    lacking = sorted(_NEEDED - set(names))
    return match[0] if not lacking else match[1] + _separator(match[2]).join([*names, *lacking])


def _separator(names: str) -> str:
    """A comma on command lines, a semicolon in the configuration file (GKeyFile)."""
    return ";" if ";" in names else ","
