"""What is known of an image from its last run here: the receipt in its output folder, and its page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from kmi.model import metadata
from kmi.model.codec import decode
from kmi.model.metadata import Metadata
from kmi.model.spec import ImageSpec
from kmi.model.stages import TestReport
from kmi.pipeline.trial import earlier, whole
from kmi.policy import pages
from kmi.policy.criteria import Case
from kmi.settings import Settings


def case(spec: ImageSpec, settings: Settings, today: date) -> Case:
    """The case of one image, for ``kmi.policy.criteria.judge``. What cannot be read counts as never seen."""
    stages = _stages(spec, settings.output)
    image = str(stages.get("wrap", {}).get("digest", ""))
    reports = [_report(stages.get("test", {})), *_tested(spec, settings.output, image)]
    newest = max((report for report in reports if report), key=lambda report: report.began, default=None)
    return Case(
        spec=spec,
        today=today,
        record=_record(stages.get("wrap", {})),
        results=newest.results if newest else None,
        signed="index and images, verified before tagging" if "tag" in stages else "",
        page=page(spec.id.distro, settings),
    )


def page(distro: str, settings: Settings) -> pages.Page:
    """The distro's page beside the catalogue."""
    path = page_path(distro, settings.distros)
    try:
        return pages.read(f"docs/images/{path.name}", path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return pages.Page()


def page_path(distro: str, distros: Path) -> Path:
    return distros.parent / "docs" / "images" / f"{distro}.md"


def _stages(spec: ImageSpec, output: Path) -> dict[str, Mapping[str, Any]]:
    """The outputs of each stage of the newest receipt that has this image, by the stage's name."""
    found: dict[str, Mapping[str, Any]] = {}
    receipts = [output / folder / "receipt.json" for folder in (str(spec.id), spec.id.name)]
    for receipt in sorted((path for path in receipts if path.exists()), key=lambda path: path.stat().st_mtime):
        try:
            rows = json.loads(receipt.read_text(encoding="utf-8"))["stages"]
            if any(row["image"] == str(spec.id) for row in rows):
                found = {
                    row["stage"]: row["outputs"] if isinstance(row["outputs"], dict) else {}
                    for row in rows
                    if row["image"] in (str(spec.id), spec.id.name)
                }
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _record(outputs: Mapping[str, Any]) -> Metadata | None:
    """None for a record that another version of kmi wrote with other fields, or that was damaged."""
    try:
        found = metadata.record(**outputs["metadata"])
        int(found["disk-size"])
    except (KeyError, ValueError, TypeError):
        return None
    return found


def _report(outputs: Mapping[str, Any]) -> TestReport | None:
    try:
        found: TestReport = decode(TestReport, outputs["report"])
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    return found


def _tested(spec: ImageSpec, output: Path, image: str) -> list[TestReport]:
    """What ``kmi test`` saw of the very image that was built last, where it looked at all of it."""
    reports = earlier(str(spec.id), (output / str(spec.id), output / spec.id.name))
    return [report for report in reports if str(report.subject) == image and whole(report, spec)]
