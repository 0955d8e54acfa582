"""What a check is, and what it gets to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from kmi.boot.agent import Agent
from kmi.boot.console import Console, Patience, wait
from kmi.boot.qemu import Machine
from kmi.boot.ssh import Key
from kmi.model.metadata import Metadata

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A booted image: its machine, its channels, the key that its seed carries, and what the image says of itself."""

    machine: Machine
    console: Console
    agent: Agent
    key: Key
    metadata: Metadata
    patience: Patience
    told: Callable[[str], None]

    def wait(self, poll: Callable[[], T | None], *, pause: float = 1.0) -> T:
        """``kmi.boot.console.wait`` on this guest. GaveUp."""
        return wait(
            poll, console=self.console, alive=self.machine.alive, patience=self.patience, told=self.told, pause=pause
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """``name`` is one of ``kmi.model.checks``. ``skip`` gives the reason why it does not apply to such an image, or
    None; ``run`` returns what was seen and raises GaveUp when the criterion is not met."""

    name: str
    skip: Callable[[Metadata], str | None]
    run: Callable[[Guest], str]
