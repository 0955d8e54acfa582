"""Graduation is proposed after green runs in a row, and after nothing less."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from kmi.catalogue import load, select
from kmi.model.checks import due
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec, Tier
from kmi.model.stages import CheckResult, Outcome, TestReport
from kmi.policy.criteria import Case
from kmi.policy.ready import readiness

SUBJECT = Digest(algorithm="sha256", hex="0" * 64)
MACHINES = ("amd64/bios", "amd64/bios/no-seed", "amd64")


def run(day: int, *, failing: Iterable[str] = ()) -> TestReport:
    results = tuple(
        CheckResult(
            check=name, machine=machine, detail="seen", seconds=1.0,
            outcome=Outcome.FAILED if name in failing else Outcome.PASSED,
        )
        for machine in MACHINES for name in due(machine)
    )  # fmt: skip
    return TestReport(subject=SUBJECT, arch=Arch.AMD64, results=results, began=f"2026-11-{day:02}T03:00:00+00:00")


@pytest.fixture(scope="module")
def spec() -> ImageSpec:
    (found,) = select(load(Path(__file__).parents[3] / "distros"), ["debian:13"], "amd64")
    assert found.tier is Tier.PREVIEW
    return found


def case(spec: ImageSpec, reports: list[TestReport]) -> Case:
    return Case(spec=spec, today=date(2026, 11, 20), results=reports[-1].results if reports else None)


@pytest.mark.parametrize(
    ("runs", "green"),
    [
        ([], 0),
        ([run(1)], 1),
        ([run(1), run(8), run(15)], 3),
        ([run(1, failing=["ssh"]), run(8), run(15)], 2),
        ([run(1), run(8, failing=["ssh"]), run(15)], 1),
        ([run(1), run(8), run(15, failing=["cloud-init"])], 0),
        ([run(1), run(8), run(15, failing=["mtu"])], 3),  # proposed only advises on it
    ],
)
def test_only_runs_in_a_row_up_to_the_newest_count(spec: ImageSpec, runs: list[TestReport], green: int) -> None:
    found = readiness(case(spec, runs), runs)
    assert found and (found.tier, found.green) == (Tier.PROPOSED, green)
    assert found.ready == (green >= 3)


def test_the_next_tier_is_the_one_that_is_asked(spec: ImageSpec) -> None:
    runs = [run(1), run(8), run(15, failing=["mtu"])]
    found = readiness(case(replace(spec, tier=Tier.PROPOSED), runs), runs)
    assert found and (found.tier, found.green, found.ready) == (Tier.STABLE, 0, False)


def test_green_runs_do_not_make_up_for_an_unmet_criterion(spec: ImageSpec) -> None:
    runs = [run(1), run(8), run(15)]
    found = readiness(case(replace(spec, tier=Tier.PROPOSED), runs), runs)
    assert found and found.green == 3 and not found.ready
    assert {"source", "upstream-catalog"} <= set(found.left)


@pytest.mark.parametrize("tier", [Tier.PLANNED, Tier.STABLE])
def test_there_is_no_next_tier_that_tests_lead_to(spec: ImageSpec, tier: Tier) -> None:
    assert readiness(case(replace(spec, tier=tier), []), []) is None
