"""A boot has an end: whatever a slow but talking guest does, the time of all its checks together is bounded."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kmi.boot.checks.check import Guest
from kmi.boot.console import GaveUp, Patience
from kmi.host.run import Result


def guest(ago: float, asked: list[float]) -> Guest:
    """A guest that was started ``ago`` seconds before now, whose boot may take an hour."""

    def root(script: str, *, seconds: float) -> Result:
        asked.append(seconds)
        return Result(status=0, stdout="said", stderr="")

    talks = SimpleNamespace(last_line=lambda: "", silent_for=lambda: 0.0, size=lambda: 1, reached=lambda: "init")
    parts: dict[str, Any] = {
        "machine": SimpleNamespace(alive=lambda: True), "console": talks, "session": SimpleNamespace(root=root),
        "agent": None, "outside": None, "given": None, "key": None, "metadata": {}, "scratch": Path(),
    }  # fmt: skip
    patience = Patience(quiet=300, overall=3600, least=90)
    return Guest(**parts, patience=patience, began=time.monotonic() - ago, told=lambda _: None)


def test_a_command_gets_what_is_left_of_the_boots_time() -> None:
    asked: list[float] = []
    assert guest(10, asked).ask("true") == "said"
    assert guest(3550, asked).ask("true", seconds=300) == "said"
    assert asked[0] == 90 and 40 < asked[1] <= 50


def test_after_the_boots_time_nothing_is_asked_and_nothing_waited_for() -> None:
    asked: list[float] = []
    late = guest(3601, asked)
    with pytest.raises(GaveUp, match="this boot has taken 3600 s"):
        late.ask("true")
    with pytest.raises(GaveUp, match="not there after"):
        late.wait(lambda: None, pause=0.01)
    with pytest.raises(GaveUp, match="not there after"):
        late.wait(lambda: None, pause=0.01, patience=Patience(quiet=90, overall=3600, least=90))
    assert asked == []
    assert late.wait(lambda: "there") == "there"
