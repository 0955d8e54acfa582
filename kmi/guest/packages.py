"""How each family's package manager is driven. A new family is a new row; nothing else knows its commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from kmi.host.ui import Step

SOURCES = "/tmp/kmi-sources.list"  # noqa: S108 -- in the guest; removed after the installation
OPTIONS = "/tmp/kmi-options.conf"  # noqa: S108 -- likewise
PLAN = "/tmp/kmi-upgrade.plan"  # noqa: S108 -- likewise
POLICY = "/usr/sbin/policy-rc.d"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageManager:
    """One family.

    Each command is an argv. ``sources`` are globs of the guest's own source files. ``override`` is added to every
    command when the build uses other archives, which then lie in ``SOURCES``, with options in ``OPTIONS``;
    ``security_list`` is a command that tells what an upgrade would do, and the sed(1) expression that finds the names
    with a security update in it, which are added to ``upgrade_security``; ``indexes`` are the signed indexes to take
    into the inventory; ``database`` is what its parser in ``kmi.guest.inventory`` reads; ``records`` are globs of paths
    that the manager and its packages' scripts keep themselves, beside the files that packages ship.
    """

    name: str
    environment: tuple[tuple[str, str], ...]
    sources: tuple[str, ...]
    override: tuple[str, ...]
    refresh: tuple[str, ...]
    upgrade_all: tuple[str, ...]
    security_list: tuple[tuple[str, ...], str]
    upgrade_security: tuple[str, ...]
    install: tuple[str, ...]
    indexes: str
    database: str
    records: tuple[str, ...]


_ANNOUNCED = re.compile(r"(\d+) upgraded, (\d+) newly installed")
_SET_UP = re.compile(r"Setting up ")

_APT = ("apt-get", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=3",
        "-o", "Acquire::Languages=none", "-o", "Dpkg::Options::=--force-confold",
        "-o", "Dpkg::Options::=--force-unsafe-io")  # fmt: skip

MANAGERS: dict[str, PackageManager] = {
    "apt": PackageManager(
        name="apt",
        environment=(("DEBIAN_FRONTEND", "noninteractive"), ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
                     ("NEEDRESTART_SUSPEND", "1")),
        sources=("/etc/apt/sources.list", "/etc/apt/sources.list.d/*", "/etc/apt/mirrors/*"),
        override=("-c", OPTIONS, "-o", f"Dir::Etc::SourceList={SOURCES}", "-o", "Dir::Etc::SourceParts=/dev/null"),
        refresh=(*_APT, "update"),
        upgrade_all=(*_APT, "dist-upgrade"),
        security_list=((*_APT, "--simulate", "dist-upgrade"), r"s/^Inst \([^ ]*\) .*-[Ss]ecurity.*/\1/p"),
        upgrade_security=(*_APT, "install", "--only-upgrade"),
        install=(*_APT, "install"),
        indexes="/var/lib/apt/lists/*_InRelease",
        database="/var/lib/dpkg/status",
        records=(
            "/var/lib/dpkg/**", "/var/lib/apt/extended_states", "/var/cache/debconf/*", "/etc/alternatives/*",
            "/var/lib/ucf/**", "/var/lib/pam/**", "/etc/ld.so.cache", "/var/cache/man/**", "/etc/rc?.d/*",
            "/var/lib/systemd/deb-systemd-helper-enabled/**", "/etc/systemd/system/*.wants/*", "/etc/shells",
            "/var/lib/shells.state", "/usr/share/**/__pycache__/**", "/usr/lib/python3/**/__pycache__/**",
            "/usr/share/info/dir", "/usr/share/mime/**", "/usr/share/applications/mimeinfo.cache",
        ),
    ),
}  # fmt: skip
"""By the name that libguestfs's inspection gives (guestfs(3), inspect_get_package_management)."""


def script(manager: PackageManager, packages: Sequence[str], *, upgrade: str, override: bool) -> str:
    """The shell script that brings the guest to the wanted packages; ``upgrade`` is all, security or none."""
    extra = manager.override if override else ()

    def command(words: tuple[str, ...]) -> str:
        return shlex.join([words[0], *extra, *words[1:]])

    lines = [f"export {name}={shlex.quote(value)}" for name, value in manager.environment]
    lines.append(command(manager.refresh))
    if upgrade == "all":
        lines.append(command(manager.upgrade_all))
    elif upgrade == "security":
        simulate, names = manager.security_list
        lines.append(f"{command(simulate)} > {PLAN}")
        lines.append(f"sed -n {shlex.quote(names)} {PLAN} | xargs -r {command(manager.upgrade_security)}")
    if packages:
        lines.append(command((*manager.install, *packages)))
    return "\n".join(lines)


class Progress:
    """Reads a package manager's output: package n of m where it says how many, else its last line."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._total = 0
        self._done = 0

    def __call__(self, line: str) -> None:
        announced = _ANNOUNCED.search(line)
        if announced:
            self._total, self._done = int(announced[1]) + int(announced[2]), 0
        elif _SET_UP.match(line):
            self._done += 1
        if self._done:
            self._step.count(self._done, max(self._total, self._done), f"packages: {line.strip()}"[:100])
        else:
            self._step.detail(line)
