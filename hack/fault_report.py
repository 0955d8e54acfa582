"""Write docs/faults.md from the JSON lines that ``make test-all`` collects: what was injected, and what kmi did."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

KINDS = {
    "kill": "Signals in every stage",
    "upstream": "A publisher's server that misbehaves",
    "disk": "Hostile disks",
    "guest": "Hostile guests",
    "manifest": "Hostile manifests",
    "registry": "A registry that misbehaves",
    "canary": "Planted secrets",
    "damage": "Flipped bits and missing files in the cache",
    "full-disk": "Full disks",
    "concurrent": "Several runs at once",
    "clock": "Clock jumps",
    "boot": "Broken images",
}
HEAD = """\
# Fault and kill runs

What the fault and kill tests injected when they last ran through, and what kmi did. A row stands here only after its
test's assertions held: no bad file was named, no tag moved, the exit status was the documented one, nothing of the run
lived on, and where a rerun is part of the case it finished the job. Random faults are seeded: the same seeds come in
every run.

"""


def main(source: Path, target: Path) -> None:
    lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    rows = Counter(_row(line) for line in lines)
    text = HEAD + _machine(len(lines))
    for kind in [*KINDS, *sorted({line["kind"] for line in lines} - KINDS.keys())]:
        found = sorted((case, result, count) for (k, case, result), count in rows.items() if k == kind)
        if not found:
            continue
        text += f"\n## {KINDS.get(kind, kind)}\n\n{_figures([line for line in lines if line['kind'] == kind])}\n\n"
        text += "| case | runs | result |\n|---|--:|---|\n"
        text += "".join(f"| {_cell(case)} | {count} | {_cell(result)} |\n" for case, result, count in found)
    target.write_text(text, encoding="utf-8")


def _row(line: dict[str, Any]) -> tuple[str, str, str]:
    case = " ".join(str(line[name]) for name in ("case", "stage", "signal", "request") if line.get(name))
    outcome = [str(line["result"])] + [f"exit {line[name]}" for name in ("exit",) if line.get(name) is not None]
    return line["kind"], case, ", ".join(outcome)


def _figures(lines: list[dict[str, Any]]) -> str:
    seeds = sorted({line["seed"] for line in lines if line.get("seed") is not None})
    slowest = max((float(line["seconds"]) for line in lines if line.get("seconds") is not None), default=0.0)
    parts = [f"{len(lines)} runs"]
    parts += [f"{len(seeds)} seeds ({seeds[0]} to {seeds[-1]})"] if seeds else []
    parts += [f"the slowest took {slowest:.1f} s"] if slowest else []
    return ", ".join(parts) + "."


def _machine(count: int) -> str:
    day = datetime.now(UTC).date().isoformat()
    times = os.environ.get("KMI_FAULT_REPEAT", "1")
    how = "the sample that `make test` runs" if times == "1" else f"each random fault {times} times, and every case"
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    return f"{count} injected faults, {day}, {machine}. KMI_FAULT_REPEAT={times}: {how}.\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
