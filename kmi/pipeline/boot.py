"""Boot images and keep what was seen: from the bytes that a registry gives back, or from a layout on disk; and take
reports of other machines."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kmi import documents
from kmi.boot import check as boot
from kmi.documents import Unreadable
from kmi.errors import UsageError
from kmi.host.ui import Step
from kmi.model.checks import due
from kmi.model.codec import decode
from kmi.model.digest import Digest
from kmi.model.metadata import Metadata
from kmi.model.platform import Arch, Firmware
from kmi.model.stages import CheckResult, OciImage, Outcome, TestReport
from kmi.pipeline.site import Site
from kmi.pipeline.trial import FOLDER, Rules, keep

Source = Callable[[Path], Path]
"""Gives the OCI layout to boot from; it may fill the empty folder that it is given."""

_LARGEST = 64 << 20
_REPORT = "results.json of `kmi test`, or the receipt of a run with a test"


class _Unsound(Exception):
    """Carries a report with a failure out of the cached stage: only a good one is worth keeping."""

    def __init__(self, report: TestReport) -> None:
        super().__init__()
        self.report = report


def tested(image: OciImage, metadata: Metadata, source: Source, *, rules: Rules, host: Arch, site: Site) -> TestReport:
    """Boot one architecture's image on each firmware that it claims, and leave what was seen beside the receipt, judged
    by ``rules``. A good report is kept and reused; an image that ``host`` cannot boot gets one that says so."""
    if image.id.arch is not host:
        report = unbooted(image, metadata, host)
        with site.ui.step(str(image.id), "test") as step:
            step.done(f"skipped: {report.results[0].detail}")
        site.record(image.id, "test", step, "", {"image": image.digest}, {"report": report})
        return report
    began = time.monotonic()

    def make(out: Path, step: Step) -> Mapping[str, object]:
        scratch = out / "scratch"
        scratch.mkdir()
        step.detail("fetching the image")
        report = boot.check(
            source(scratch / "oci"),
            image.digest,
            image.id.arch,
            metadata=metadata,
            machines=firmware(metadata),
            acceleration=site.acceleration(image.id.arch),
            scratch=scratch,
            logs=site.log,
            step=step,
        )
        shutil.rmtree(scratch)
        keep(report, rules, str(image.id), site.folder / FOLDER / image.id.arch)
        if any(result.outcome is Outcome.FAILED for result in report.results):
            raise _Unsound(report)
        return {"report": report}

    inputs = {"version": boot.VERSION, "image": image.digest, "firmware": metadata["firmware"]}
    try:
        stage = site.stage(image.id, "test", inputs, make, told=lambda o: summary(decode(TestReport, o["report"])))
    except _Unsound as unsound:
        site.failed(image.id, "test", time.monotonic() - began, inputs, {"report": unsound.report})
        return unsound.report
    found: TestReport = decode(TestReport, stage.outputs["report"])
    return found


def firmware(metadata: Metadata) -> tuple[Firmware, ...]:
    """What the image claims to boot from, each once."""
    return tuple(dict.fromkeys(Firmware(name) for name in metadata["firmware"].split()))


def unbooted(image: OciImage, metadata: Metadata, host: Arch) -> TestReport:
    """The report of an image that was not booted, each check with the reason."""
    why = f"this host is {host} and boots no {image.id.arch} image"
    results = tuple(
        CheckResult(check=name, machine=f"{image.id.arch}/{machine}", outcome=Outcome.SKIPPED, detail=why, seconds=0.0)
        for machine in firmware(metadata)
        for name in due(f"{image.id.arch}/{machine}")
    )
    return TestReport(subject=image.digest, arch=image.id.arch, results=results)


def summary(report: TestReport) -> str:
    """``amd64/bios 4 passed · amd64/uefi 3 passed, 1 failed``."""
    parts = []
    for machine in dict.fromkeys(result.machine for result in report.results):
        outcomes = [result.outcome for result in report.results if result.machine == machine]
        counts = [f"{outcomes.count(outcome)} {outcome}" for outcome in Outcome if outcome in outcomes]
        parts.append(f"{machine} {', '.join(counts)}")
    return " · ".join(parts)


def reports(files: Iterable[Path]) -> dict[Digest, TestReport]:
    """The test reports in receipts, and in files that hold one alone, by the image that each is of. UsageError for a
    file that holds none."""
    found: dict[Digest, TestReport] = {}
    for file in files:
        try:
            value = json.loads(documents.text(documents.contents(file, _LARGEST)))
            of_file = [decode(TestReport, one) for one in _encoded(value)]
        except (Unreadable, ValueError) as error:
            got = str(error)[:300]
            raise UsageError("cannot read the test report", expected=_REPORT, got=got, where=file) from error
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError("cannot read the test report", expected=_REPORT, got="other JSON", where=file) from error
        if not of_file:
            raise UsageError("there is no test report", expected="a receipt of a run with a test", where=file)
        found |= {report.subject: report for report in of_file}
    return found


def _encoded(value: Any) -> list[Any]:
    if "stages" not in value:
        return [value]
    return [row["outputs"]["report"] for row in value["stages"] if row["stage"] == "test"]
