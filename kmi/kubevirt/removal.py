"""What kmi made in a cluster goes away again; and what a killed run has left there."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from kmi.errors import NetworkError
from kmi.kubevirt import state
from kmi.kubevirt.objects import BEGAN, LABEL
from kmi.kubevirt.resources import Resources

ABANDONED = timedelta(hours=6)
"""No test takes that long: what is older is nobody's."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_CALL = 10.0


def remove(resources: Resources, test: str, seconds: float) -> list[str]:
    """Delete what carries the test's label, also after a request to stop, and wait until it is gone, for ``seconds`` at
    most. What is left, as lines for people."""
    deadline = time.monotonic() + seconds
    selector, left, pause = f"{LABEL}={test}", [f"whatever carries the label {LABEL}={test}"], _FIRST_PAUSE
    while True:
        bound: dict[str, Any] = {"seconds": max(min(_CALL, deadline - time.monotonic()), 0.5), "stoppable": False}
        try:
            found = resources.labelled(selector, **bound)
            left = [f"virtualmachineinstance {resources.namespace}/{_name(one)}" for one in found]
            if not found:
                return []
            for one in found:
                if not state.at(one, "metadata", "deletionTimestamp"):
                    resources.delete(_name(one), state.text(one, "metadata", "uid"), **bound)
        except NetworkError as error:
            left = [*left[:20], f"({error.what}: {error.got})"] if not left[-1].startswith("(") else left
        if time.monotonic() >= deadline:
            return left
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def sweep(resources: Resources, now: datetime, told: Callable[[str], None]) -> None:
    """Tell what earlier tests have left in the namespace, and delete what is abandoned."""
    for one in resources.labelled(LABEL):
        name, began = _name(one), _began(one)
        if began is None or state.at(one, "metadata", "deletionTimestamp"):
            continue
        if now - began < ABANDONED:
            told(f"another test runs, or was killed: {resources.namespace}/{name}, begun {began:%Y-%m-%d %H:%M} UTC")
            continue
        told(f"deleting {resources.namespace}/{name}, which a test left at {began:%Y-%m-%d %H:%M} UTC")
        try:
            resources.delete(name, state.text(one, "metadata", "uid"), seconds=_CALL)
        except NetworkError as error:
            told(f"it could not be deleted: {error.got}")


def _name(one: state.Object) -> str:
    return state.text(one, "metadata", "name")


def _began(one: state.Object) -> datetime | None:
    """The later of what kmi noted and what the cluster did; None unless both are there: then kmi did not make it."""
    moments = (state.text(one, "metadata", "annotations", BEGAN), state.text(one, "metadata", "creationTimestamp"))
    try:
        return max(datetime.fromisoformat(moment).astimezone(UTC) for moment in moments)
    except (ValueError, OverflowError):
        return None
