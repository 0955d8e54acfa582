"""What the fault and kill runs leave behind for ``docs/faults.md``: one JSON line for each fault that was injected."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

BASE_SEED = 20261120


def repeat() -> int:
    """How often each random fault is injected: ``KMI_FAULT_REPEAT``, 1 where it is not set."""
    return int(os.environ.get("KMI_FAULT_REPEAT", "1"))


def seeds(case: str) -> Iterator[tuple[int, random.Random]]:
    """A seed and its generator for each repetition of ``case``; the same in every run."""
    for number in range(repeat()):
        seed = BASE_SEED + number
        yield seed, random.Random(f"{case}-{seed}")


def record(kind: str, case: str, *, result: str, **facts: object) -> None:
    """Append a line to the file that ``KMI_FAULT_REPORT`` names. ``kind`` is kill, upstream, disk, guest, manifest,
    registry, canary, damage, full-disk, concurrent, clock or boot; ``result`` says in a few words what kmi did; call it
    only after the assertions held."""
    path = os.environ.get("KMI_FAULT_REPORT")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "case": case, "result": result, **facts}, sort_keys=True) + "\n")
