"""Questions to a Linux guest: a shell script that prints lines ``name=value``, and what its answer says.

The scripts are POSIX sh and use what util-linux, iproute2 and busybox have in common; most of it is /proc and /sys.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kmi.boot.checks.check import Guest, Inapplicable
from kmi.boot.console import GaveUp

T = TypeVar("T")

_DIGITS = 18
"""Of a number that a guest tells; 64 bits have up to 20, and nothing here comes near."""
_PATH = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin"  # root's own login may bring a shorter one


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The answer's lines in their order, as pairs of name and value."""

    lines: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, text: str) -> Facts:
        """Lines of any other form are left out."""
        pairs = (line.partition("=") for line in text.splitlines())
        return cls(lines=tuple((name, value.strip()) for name, equals, value in pairs if equals))

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.lines if known == name]

    def one(self, name: str) -> str:
        """The first value, empty if there is none."""
        return next(iter(self.all(name)), "")

    def number(self, name: str) -> int:
        """GaveUp if it is none."""
        return number(self.one(name), name)


def number(text: str, what: str) -> int:
    """A whole number that a guest wrote. GaveUp, with ``what`` it should have been, if it is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise GaveUp(f"the guest tells no {what}: {text[:80]!r}")
    return int(text)


def script(body: str) -> str:
    """``body`` with nothing on its standard input: a shell that reads its script there shares it with every program
    that it starts."""
    return f"{_PATH}\n{{\n{body.strip()}\n}} </dev/null\n"


def ask(guest: Guest, body: str, *, seconds: float | None = None) -> Facts:
    """Run ``body`` as root. Inapplicable if the system is no Linux, GaveUp if the script fails or is not done after
    ``seconds`` (default: what the guest's speed allows)."""
    text = guest.ask(
        script(f'system=$(uname); echo "system=$system"\n[ "$system" = Linux ] || exit 0\n{body}'), seconds=seconds
    )
    facts = Facts.of(text)
    if (system := facts.one("system")) != "Linux":
        raise Inapplicable(f"kmi asks for it in Linux's words, and this is {system or 'an unnamed system'}")
    return facts


def eventually(guest: Guest, look: Callable[[], T]) -> T:
    """``look`` again while it gives up, for a while: some things are still coming up when the first login works.
    GaveUp as it said last."""
    deadline = time.monotonic() + guest.patience.least / 3

    def once() -> T | None:
        try:
            return look()
        except GaveUp:
            if time.monotonic() >= deadline:
                raise
            return None

    return guest.wait(once, pause=3.0)
