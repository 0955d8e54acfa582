"""The report of the fault runs says what was injected and how often, and hides nothing."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_report_counts_what_was_injected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        {"kind": "kill", "case": "fetch", "signal": "SIGKILL", "seed": 7, "seconds": 2.5, "result": "rerun done"},
        {"kind": "kill", "case": "fetch", "signal": "SIGKILL", "seed": 8, "seconds": 1, "result": "rerun done"},
        {"kind": "disk", "case": "a|b", "exit": 4, "result": "refused"},
        {"kind": "something new", "case": "x", "result": "y"},
    ]
    source, target = tmp_path / "in", tmp_path / "out.md"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setenv("KMI_FAULT_REPEAT", "3")
    runpy.run_path(str(ROOT / "hack/fault_report.py"))["main"](source, target)
    text = target.read_text()
    assert "4 injected faults" in text and "KMI_FAULT_REPEAT=3" in text
    assert "2 runs, 2 seeds (7 to 8), the slowest took 2.5 s." in text
    assert "| fetch SIGKILL | 2 | rerun done |" in text
    assert "| a\\|b | 1 | refused, exit 4 |" in text
    assert "## something new" in text
