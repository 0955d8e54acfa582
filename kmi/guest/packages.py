"""What a package manager is told, and what is made of its answer. The commands are rows of ``kmi.guest.managers``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from kmi.errors import BuildError
from kmi.guest.managers import MANAGERS, OPTIONS, PLAN, POLICY, SOURCES, PackageManager, Words
from kmi.host.ui import Step

__all__ = ["MANAGERS", "OPTIONS", "PLAN", "POLICY", "SOURCES", "PackageManager", "Progress", "script"]

_ANNOUNCED = re.compile(r"\b(\d{1,6}) upgraded, (\d{1,6}) newly installed")
_SET_UP = re.compile(r"Setting up ")
_COUNTED = re.compile(r"\s*[\[(]\s*(\d{1,5})/(\d{1,5})[\])]|.*\s(\d{1,5})/(\d{1,5})\s*$")
"""``(3/12) installing git`` (zypper, pacman, apk), ``[ 3/12]`` (dnf 5), and dnf 4 with ``3/12`` at the end."""


def script(manager: PackageManager, packages: Sequence[str], *, upgrade: str, override: bool) -> str:
    """The shell script that brings the guest to the wanted packages; ``upgrade`` is all, security or none.

    BuildError for what the package manager cannot do.
    """
    extra = manager.override if override else ()
    if override and not extra:
        raise BuildError(f"{manager.name} cannot be led to other archives for the build", expected="apt")

    def command(words: Words) -> str:
        return shlex.join([words[0], *extra, *words[1:]])

    def asked(words: Words) -> list[str]:
        fine = "|".join(map(str, manager.fine))
        return [command(words) + (f" || case $? in {fine}) ;; *) exit 1 ;; esac" if fine else "")] if words else []

    lines = [f"export {name}={shlex.quote(value)}" for name, value in manager.environment]
    lines += [shlex.join(words) for words in manager.before]
    lines += asked(manager.refresh)
    if upgrade == "all":
        lines += asked(manager.upgrade_all)
    elif upgrade == "security":
        if manager.upgrade_security is None:
            raise BuildError(f"{manager.name} cannot tell security updates", expected="upgrade: all or none")
        if manager.security_list:
            simulate, names = manager.security_list
            lines.append(f"{command(simulate)} > {PLAN}")
            lines.append(f"sed -n {shlex.quote(names)} {PLAN} | xargs -r {command(manager.upgrade_security[0])}")
        else:
            lines += [line for words in manager.upgrade_security for line in asked(words)]
    if packages:
        lines += asked((*manager.install, *packages))
    lines += [shlex.join(words) for words in manager.after]
    return "\n".join(lines)


class Progress:
    """Reads a package manager's output: package n of m where it says how many, else its last line."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._total = 0
        self._done = 0

    def __call__(self, line: str) -> None:
        announced, counted = _ANNOUNCED.search(line), _COUNTED.match(line)
        if announced:
            self._total, self._done = int(announced[1]) + int(announced[2]), 0
        elif _SET_UP.match(line):
            self._done += 1
        elif counted:
            self._done, self._total = (int(number) for number in counted.groups() if number is not None)
        if self._done:
            self._step.count(self._done, max(self._total, self._done), f"packages: {line.strip()}"[:100])
        else:
            self._step.detail(line)
