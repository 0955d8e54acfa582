"""What is kept of a boot test, under which rules it is judged, and where the tests of earlier runs lie."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from kmi import documents
from kmi.documents import Unreadable
from kmi.errors import GateError
from kmi.host.files import write_text
from kmi.model.codec import decode
from kmi.model.spec import ImageSpec, Tier, Waiver
from kmi.model.stages import Outcome, TestReport, Verdict
from kmi.pipeline.results.files import Written, results, write
from kmi.policy.gate import gate

FOLDER = "test"
"""In an image's output folder; ``test/<architecture>/history`` keeps a file for each run."""
RESULTS = ("results.json", "junit.xml", "statement.json")
"""What ``keep`` writes there for one run."""
_HISTORY = "history"
_KEPT = 52
"""Runs that a history keeps: a year of weekly ones."""
_LARGEST = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a test is judged by: a tier, and the waivers of the image's manifest."""

    tier: Tier
    waivers: tuple[Waiver, ...] = ()

    @classmethod
    def of(cls, spec: ImageSpec) -> Rules:
        return cls(tier=spec.tier, waivers=spec.waivers)

    def verdict(self, *reports: TestReport, today: date | None = None) -> Verdict:
        return gate(self.tier, reports, waivers=self.waivers, today=today or datetime.now(UTC).date())


def keep(report: TestReport, rules: Rules, image: str, folder: Path, *, repository: str = "") -> Written:
    """Write the results into ``folder``, and a copy into the history beside them. A report that a simulated cluster
    made is in no history: it proves nothing of the image."""
    folder.mkdir(parents=True, exist_ok=True)
    verdict = rules.verdict(report)
    written = write(report, verdict, rules.tier, folder, repository=repository)
    if report.began and not report.simulated:
        stamp = re.sub(r"[^0-9TZ]", "", report.began.replace("+00:00", "Z"))
        history = folder / _HISTORY
        history.mkdir(exist_ok=True)
        name = f"{stamp}-{report.runner}-{report.subject.short}.json"
        entry = {"image": image, **results(report, verdict, rules.tier)}
        write_text(history / name, json.dumps(entry, indent=2, sort_keys=True) + "\n")  # in ASCII, as results.json is
        for old in sorted(history.glob("*.json"))[:-_KEPT]:
            old.unlink(missing_ok=True)
    return written


def earlier(image: str, folders: Iterable[Path]) -> tuple[TestReport, ...]:
    """The reports of an image in all histories below the folders, the oldest first, each once. What cannot be read, and
    what a simulated cluster made, counts as never seen."""
    found: dict[tuple[str, str, str], TestReport] = {}
    for file in (file for folder in folders for file in sorted(folder.rglob(f"{_HISTORY}/*.json"))):
        try:
            value = json.loads(documents.text(documents.contents(file, _LARGEST)))
            report: TestReport = decode(TestReport, value)
            if value["image"] == image and not report.simulated and report.began:
                found[report.began, str(report.subject), report.runner] = report
        except (Unreadable, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return tuple(found[key] for key in sorted(found))


def whole(report: TestReport, spec: ImageSpec) -> bool:
    """Whether it tells of all that the image claims: a cluster looks at less than all, and ``kmi test --firmware`` at
    one firmware of several or at none of them."""
    wanted = {f"{spec.id.arch}/{firmware}" for firmware in spec.firmware}
    return report.runner == "qemu" and wanted <= {result.machine for result in report.results}


def refused(name: str, rules: Rules, verdict: Verdict, *, where: str | None, log: Path | None) -> GateError:
    """The error that says what blocks."""
    lines = [f"{r.check} on {r.machine}: {r.outcome}, {r.detail}" for r in verdict.blocking]
    return GateError(
        f"{name} does not do what its tier demands",
        expected=f"the blocking checks of tier {rules.tier}",
        got="\n           ".join(lines),
        where=where,
        hint="console logs and pictures of the display lie in the folder named below",
        log=log,
    )


def word(report: TestReport, verdict: Verdict) -> str:
    """The result in a word: passed, warned (only advisory checks failed), failed."""
    if verdict.blocking:
        return "failed"
    failed = any(result.outcome is Outcome.FAILED for result in report.results)
    return "warned" if failed or verdict.advisory else "passed"
