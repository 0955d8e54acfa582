"""What a check is, and what it gets to look at."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from kmi.boot.agent import Agent
from kmi.boot.console import Console, GaveUp, Patience, wait
from kmi.boot.outside import Outside
from kmi.boot.qemu import Machine
from kmi.boot.seed import SeedKind
from kmi.boot.session import Session
from kmi.boot.ssh import Key
from kmi.model.metadata import Metadata

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the seed, of this kind, tells the guest: its name, the text of the file that it has written, and its key."""

    kind: SeedKind
    hostname: str
    nonce: str
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A booted image: its machine, its channels, what its seed says, and what the image says of itself.

    ``given`` is what a seed told it; a guest without one has heard nothing of it. ``key`` is the pair that SSH logs in
    with, ``session`` runs commands as root over SSH (only where the default user's login works), ``outside`` is a
    server on the host's side, ``scratch`` an empty folder, ``began`` the time of the start (``time.monotonic``).
    """

    machine: Machine
    console: Console
    agent: Agent
    session: Session
    outside: Outside
    given: Given | None
    key: Key
    metadata: Metadata
    patience: Patience
    scratch: Path
    began: float
    told: Callable[[str], None]

    def wait(self, poll: Callable[[], T | None], *, pause: float = 1.0, patience: Patience | None = None) -> T:
        """``kmi.boot.console.wait`` on this guest, for as long as its boot may go on. GaveUp."""
        chosen = patience or self.patience
        bounded = replace(chosen, overall=min(chosen.overall, self.left()))
        return wait(poll, console=self.console, alive=self.machine.alive, patience=bounded, told=self.told, pause=pause)

    def left(self) -> float:
        """Seconds that this boot may still take: a guest that is slow but talks does not go on for ever."""
        return max(self.patience.overall - (time.monotonic() - self.began), 0.0)

    def ask(self, script: str, *, seconds: float | None = None) -> str:
        """What a shell script prints that root runs in the guest. GaveUp with its last words if it fails, and if it is
        not done after ``seconds`` (default: what the guest's speed allows)."""
        left = self.left()
        if not left:
            raise GaveUp(f"this boot has taken {self.patience.overall:.0f} s, and nothing more is asked of it")
        result = self.session.root(script, seconds=min(seconds or self.patience.least, left))
        if result.status:
            said = (result.stderr.strip() or result.stdout.strip() or "nothing").splitlines()[-1]
            raise GaveUp(f"{script.strip().splitlines()[-1][:80]!r} ended with {result.status}: {said[:200]}")
        return result.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """``name`` is one of ``kmi.model.checks``. ``skip`` gives the reason why it does not apply to such an image, or
    None; ``after`` names the checks without which it cannot look; ``run`` returns what was seen and raises GaveUp when
    the criterion is not met, Inapplicable when it turns out not to apply."""

    name: str
    skip: Callable[[Metadata], str | None]
    run: Callable[[Guest], str]
    after: tuple[str, ...] = ()


class Inapplicable(Exception):
    """The check does not apply to what was found in the guest, or cannot be made on this host. The text says why."""


def everywhere(_: Metadata) -> str | None:
    """For a check that applies to any image."""
    return None


def with_agent(metadata: Metadata) -> str | None:
    """For a check that asks the guest agent."""
    return "the image has no guest agent" if metadata["agent"] in ("", "absent") else None


def with_login(metadata: Metadata) -> str | None:
    """For a check that needs the default user, to whom a seed brings the key."""
    if not metadata["user"]:
        return "the image has no default user"
    if metadata["init"] not in ("cloud-init", "ignition"):
        return f"kmi gives no key to an image provisioned by {metadata['init'] or 'nothing'}"
    return None
