"""What must not stay in a disk that many machines will start from.

An image is cloned: whatever identifies one machine, tells who built it, or is only a cache, goes. The table is also the
declaration that the tree-diff test holds the finished disk against.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

from kmi.errors import BuildError
from kmi.guest.files import real
from kmi.host.guestfs import Appliance


class Action(StrEnum):
    REMOVE = "remove"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``pattern`` is a glob of libguestfs (no ``**``); removing works on files, links and folders alike."""

    pattern: str
    action: Action
    why: str


def _remove(why: str, *patterns: str) -> tuple[Rule, ...]:
    return tuple(Rule(pattern=pattern, action=Action.REMOVE, why=why) for pattern in patterns)


RULES: tuple[Rule, ...] = (
    *_remove("SSH host keys identify one machine", "/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_*_key.pub"),
    *_remove("a seed shared by clones is no seed", "/var/lib/systemd/random-seed", "/var/lib/urandom/random-seed",
             "/var/lib/systemd/credential.secret"),
    *_remove("state of a cloud instance", "/var/lib/cloud/*", "/run/cloud-init/*"),
    *_remove("leases of the builder's network", "/var/lib/dhcp/*.leases", "/var/lib/dhclient/*",
             "/var/lib/NetworkManager/*.lease", "/run/systemd/resolve/*", "/etc/.resolv.conf.systemd-resolved.bak"),
    *_remove("package caches", "/var/lib/apt/lists/*_*", "/var/lib/apt/lists/auxfiles",
             "/var/cache/apt/archives/*.deb", "/var/cache/apt/*.bin",
             "/var/cache/libdnf5/*", "/var/lib/pacman/sync/*",
             "/var/cache/dnf/*", "/var/cache/yum/*", "/var/cache/zypp/*", "/var/cache/apk/*",
             "/var/cache/pacman/pkg/*", "/var/cache/ldconfig/aux-cache"),
    *_remove("backups of the package database", "/var/lib/dpkg/*-old", "/var/cache/debconf/*-old"),
    *_remove("backups of the account files", "/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-",
             "/etc/subuid-", "/etc/subgid-"),
    *_remove("rotated logs and journals", "/var/log/*.gz", "/var/log/*.[0-9]", "/var/log/*/*.gz", "/var/log/journal/*"),
    *_remove("temporary files and histories", "/tmp/*", "/tmp/.[!.]*", "/var/tmp/*", "/root/.bash_history",  # noqa: S108
             "/root/.cache", "/root/.viminfo", "/root/.wget-hsts", "/home/*/.bash_history"),
    *(Rule(pattern=pattern, action=Action.EMPTY, why="logs of the build")
      for pattern in ("/var/log/*", "/var/log/*/*")),
    Rule(pattern="/etc/machine-id", action=Action.EMPTY, why="every machine makes its own (machine-id(5))"),
)  # fmt: skip

ONLY_A_FILE = "/var/lib/dbus/machine-id"
"""Removed where it is a file of its own; a link to /etc/machine-id stays."""

MOST = 10_000
"""Removing one path takes some 30 ms under emulation."""


def scrub(guest: Appliance) -> int:
    """Apply the table to the mounted guest; returns how many paths it changed.

    Host-side calls only: no code of the guest decides what is removed. BuildError where a link leads a pattern to what
    the table does not mean (/var/log to /etc), and for more than ``MOST`` paths.
    """
    seen = changed = 0
    for rule in RULES:
        for path in guest.glob_expand(rule.pattern, directoryslash=False):
            changed += _apply(guest, rule.action, _meant(guest, rule, path))
            seen += 1
            if seen > MOST:
                raise BuildError("the guest has absurdly many files to scrub", expected=f"at most {MOST}", where=path)
    if guest.is_file(ONLY_A_FILE, followsymlinks=False):
        guest.rm_f(ONLY_A_FILE)
        changed += 1
    return changed


def _meant(guest: Appliance, rule: Rule, path: str) -> str:
    """The path without a link on its way, if the table speaks of that one too: /var/tmp may lead to /tmp."""
    found = real(guest, path)
    if found != path and not any(other.action is rule.action and covers(other.pattern, found) for other in RULES):
        raise BuildError(
            "a link in the guest leads scrubbing astray",
            expected=f"{path} itself ({rule.why})",
            got=found,
            hint="remove the link with a command in the manifest (`run`)",
        )
    return found


def covers(pattern: str, path: str) -> bool:
    """Whether the glob pattern matches the path, part by part."""
    parts, given = pattern.split("/"), path.split("/")
    return len(parts) == len(given) and all(map(fnmatchcase, given, parts))


def _apply(guest: Appliance, action: Action, path: str) -> bool:
    if action is Action.REMOVE:
        guest.rm_rf(path)
        return True
    if not guest.is_file(path, followsymlinks=False) or guest.filesize(path) == 0:
        return False
    guest.truncate(path)
    return True
