"""The files that a boot test leaves in a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from kmi.host.files import write_json, write_text
from kmi.model.codec import encode
from kmi.model.spec import Tier
from kmi.model.stages import TestReport, Verdict
from kmi.pipeline.results.junit import junit
from kmi.pipeline.results.statement import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Where they are: JSON that ``kmi publish --report`` takes, JUnit XML, and the unsigned in-toto statement."""

    results: Path
    junit: Path
    statement: Path


def write(report: TestReport, verdict: Verdict, tier: Tier, folder: Path, *, repository: str = "") -> Written:
    """Write all three into ``folder``, each whole or not at all. ``repository`` is where the image came from, if from a
    registry. OSError if the folder cannot be written."""
    written = Written(results=folder / "results.json", junit=folder / "junit.xml", statement=folder / "statement.json")
    # In ASCII: half of a surrogate pair, which a guest's JSON may hold, has no UTF-8.
    write_text(written.results, json.dumps(results(report, verdict, tier), indent=2, sort_keys=True) + "\n")
    write_text(written.junit, junit(report, verdict, tier))
    write_json(written.statement, statement(report, verdict, tier, repository))
    return written


def results(report: TestReport, verdict: Verdict, tier: Tier) -> dict[str, object]:
    """The report's own fields (``kmi.model.codec`` reads them back as one), beside them ``verdict``, ``tier`` and the
    ``seconds`` of each machine."""
    seconds: dict[str, float] = {}
    for result in report.results:
        seconds[result.machine] = round(seconds.get(result.machine, 0.0) + result.seconds, 3)
    return {**encode(report), "verdict": encode(verdict), "tier": str(tier), "seconds": seconds}
