"""What a receipt and a page tell of an image; the receipt is written by the code that writes a run's."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kmi.catalogue import load, select
from kmi.model.checks import CRITERIA as CHECKS
from kmi.model.codec import encode
from kmi.model.digest import Digest
from kmi.model.metadata import FIELDS
from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec
from kmi.model.stages import CheckResult, Outcome, TestReport
from kmi.pipeline.evidence import case
from kmi.pipeline.site import Record
from kmi.pipeline.trial import Rules, keep
from kmi.policy import pages
from kmi.policy.criteria import Standing, judge
from kmi.settings import Settings

TODAY = date(2026, 11, 20)
METADATA = {field.name: f"the {field.name}" for field in FIELDS} | {"disk-size": "1000", "disk-format": "qcow2"}
REPORT = TestReport(
    subject=Digest(algorithm="sha256", hex="a1" * 32),
    arch=Arch.AMD64,
    results=tuple(
        CheckResult(check=name, machine="amd64/bios", outcome=Outcome.PASSED, detail="seen", seconds=1.0)
        for name in CHECKS
    ),
)


@pytest.fixture(scope="module")
def spec() -> ImageSpec:
    return select(load(Path(__file__).parents[3] / "distros"), ["debian:12"], "amd64")[0]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(distros=tmp_path / "distros", output=tmp_path / "build")


def receipt(settings: Settings, folder: str, *stages: tuple[str, str, object], at: int = 1) -> Path:
    """The receipt of a run with these stages: image, stage, outputs."""
    records = [
        Record(image=image, stage=stage, reused=False, seconds=1.0, key="", inputs={}, outputs=encode(outputs))
        for image, stage, outputs in stages
    ]
    path = settings.output / folder / "receipt.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"kmi": "0", "stages": encode(records)}))
    os.utime(path, (at, at))
    return path


def wrapped(image: str = "debian-12-amd64", **changes: str) -> tuple[str, str, Mapping[str, Any]]:
    return image, "wrap", {"digest": "sha256:" + "a1" * 32, "metadata": METADATA | changes}


def booted(report: TestReport = REPORT) -> tuple[str, str, Mapping[str, Any]]:
    return "debian-12-amd64", "test", {"report": encode(report)}


def test_nothing_was_run(spec: ImageSpec, settings: Settings) -> None:
    found = case(spec, settings, TODAY)
    assert (found.record, found.results, found.signed, found.page) == (None, None, "", pages.Page())


def test_a_whole_run(spec: ImageSpec, settings: Settings) -> None:
    tags = ("debian-12", "tag", ("12-20261120-1", "12"))
    receipt(settings, "debian-12-amd64", wrapped(), ("debian-12", "sign", ("12",)), booted(), tags)
    found = case(spec, settings, TODAY)
    assert found.record == METADATA
    assert found.results == REPORT.results
    assert found.signed
    standings = {finding.criterion: finding.standing for finding in judge(found)}
    assert {standings[name] for name in ("signature", "baseline-boot", "source", "qcow2")} == {Standing.MET}


def test_a_run_that_ended_before_its_tags(spec: ImageSpec, settings: Settings) -> None:
    failed = dataclasses.replace(REPORT.results[0], outcome=Outcome.FAILED)
    receipt(settings, "debian-12-amd64", wrapped(), booted(dataclasses.replace(REPORT, results=(failed,))))
    found = case(spec, settings, TODAY)
    assert (found.results, found.signed) == ((failed,), "")


def test_a_test_of_one_firmware_of_two_is_no_evidence(spec: ImageSpec, settings: Settings) -> None:
    receipt(settings, "debian-12-amd64", wrapped())
    whole = tuple(dataclasses.replace(one, machine=f"amd64/{name}") for name in spec.firmware for one in REPORT.results)
    for results, hour in ((whole, "03"), (REPORT.results, "04")):
        report = dataclasses.replace(REPORT, results=results, began=f"2026-11-20T{hour}:00:00+00:00")
        keep(report, Rules.of(spec), str(spec.id), settings.output / str(spec.id) / "test/amd64")
    assert case(spec, settings, TODAY).results == whole


def test_the_newest_receipt_that_has_the_image_counts(spec: ImageSpec, settings: Settings) -> None:
    receipt(settings, "debian-12-amd64", wrapped(source="old"), at=1)
    receipt(settings, "debian-12", wrapped(source="new"), wrapped("debian-12-arm64", source="arm"), at=2)
    assert (case(spec, settings, TODAY).record or {})["source"] == "new"
    receipt(settings, "debian-12", wrapped("debian-12-arm64"), ("debian-12", "tag", ("12",)), at=3)
    found = case(spec, settings, TODAY)
    assert ((found.record or {})["source"], found.signed) == ("old", "")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"stages": 1}', '{"stages": [1]}', '{"stages": [{"image": "debian-12-amd64"}]}', "\udcff"],
)
def test_a_damaged_receipt_counts_as_none(spec: ImageSpec, settings: Settings, text: str) -> None:
    receipt(settings, "debian-12-amd64").write_bytes(text.encode(errors="surrogateescape"))
    found = case(spec, settings, TODAY)
    assert (found.record, found.results) == (None, None)
    judge(found)


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"metadata": None},
        {"metadata": {"source": "only this"}},
        {"metadata": METADATA | {"unheard-of": "x"}},
        {"metadata": METADATA | {"disk-size": "many"}},
        {"metadata": METADATA | {"source": 1}},
    ],
)
def test_a_record_that_is_none_counts_as_none(spec: ImageSpec, settings: Settings, outputs: object) -> None:
    receipt(settings, "debian-12-amd64", ("debian-12-amd64", "wrap", outputs), booted())
    found = case(spec, settings, TODAY)
    assert found.record is None
    assert found.results == REPORT.results
    judge(found)


@pytest.mark.parametrize("report", [None, 1, [], {}, {"subject": 1, "arch": "amd64", "results": []}, {"results": None}])
def test_a_report_that_is_none_counts_as_none(spec: ImageSpec, settings: Settings, report: object) -> None:
    receipt(settings, "debian-12-amd64", wrapped(), ("debian-12-amd64", "test", {"report": report}))
    assert case(spec, settings, TODAY).results is None


def test_the_page_beside_the_catalogue(spec: ImageSpec, settings: Settings) -> None:
    page = settings.distros.parent / "docs/images/debian.md"
    page.parent.mkdir(parents=True)
    page.write_text(f"## Try me\n{pages.MARK}\n## Common uses\nOne.\nTwo.\n")
    assert case(spec, settings, TODAY).page == pages.Page(name="docs/images/debian.md", try_me=True, uses=True)
    page.write_bytes(b"\xff")
    assert case(spec, settings, TODAY).page == pages.Page()
