"""A simulated guest: its shell says what a test gives it, and no time passes while it is waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from kmi.boot.console import GaveUp, Patience

METADATA = {
    "init": "cloud-init", "agent": "installed", "user": "debian", "packages": "", "virtual-size": "",
    "documentation": "", "download": "",
}  # fmt: skip


class Shell:
    """Stands for ``Guest.ask``: says ``answers`` in turn, the last one for ever; an exception is raised."""

    def __init__(self, answers: Sequence[str | Exception]) -> None:
        self.asked: list[str] = []
        self._answers = answers

    def __call__(self, script: str, *, seconds: float | None = None) -> str:
        self.asked.append(script)
        answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def wait(poll: Callable[[], Any], *, pause: float = 1.0, patience: Patience | None = None) -> Any:
    """Stands for ``Guest.wait``: a poll that finds nothing in 30 looks is given up."""
    for _ in range(30):
        found = poll()
        if found is not None:
            return found
    raise GaveUp("silent")


@pytest.fixture
def guest() -> Callable[..., SimpleNamespace]:
    """``guest(answer, …, metadata={…}, …)``: keywords replace the parts of ``kmi.boot.checks.Guest``; ``metadata`` adds
    to a usual record. Its patience is nothing at all, so that what is looked at repeatedly is looked at once."""

    def make(*answers: str | Exception, metadata: dict[str, str] | None = None, **parts: Any) -> SimpleNamespace:
        usual = {
            "ask": Shell(answers), "wait": wait, "console": SimpleNamespace(text=lambda: ""), "key": None,
            "machine": SimpleNamespace(ssh_port=1, hardware=SimpleNamespace(mtu=1400, memory=1024)),
            "outside": SimpleNamespace(port=1, nonce="nonce", families=()), "given": None,
            "patience": Patience(quiet=0, overall=0, least=0), "metadata": {**METADATA, **(metadata or {})},
        }  # fmt: skip
        return SimpleNamespace(**{**usual, **parts})

    return make
