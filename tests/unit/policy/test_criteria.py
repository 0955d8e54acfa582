"""The criteria of the stable tier: what proves each, what does not, and what may be waived until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from kmi.catalogue import load, select
from kmi.model.checks import CRITERIA as CHECKS
from kmi.model.checks import WAIVABLE
from kmi.model.metadata import FIELDS
from kmi.model.spec import GuestFile, ImageSpec, Waiver
from kmi.model.stages import CheckResult, Outcome
from kmi.policy import pages
from kmi.policy.criteria import CRITERIA, Case, Finding, Standing, judge

TODAY = date(2026, 11, 20)
UNCHECKED = {"upstream-catalog"}
RECORD = {field.name: "something" for field in FIELDS} | {
    "disk-size": "1000", "disk-format": "qcow2", "base": "registry.access.redhat.com/ubi9/ubi-micro", "trust": "apt:AB",
}  # fmt: skip
PASSED = tuple(
    CheckResult(check=name, machine="amd64/bios", outcome=Outcome.PASSED, detail="seen", seconds=1.0) for name in CHECKS
)


@pytest.fixture(scope="module")
def spec() -> ImageSpec:
    return select(load(Path(__file__).parents[3] / "distros"), ["debian:12"], "amd64")[0]


@pytest.fixture
def best(spec: ImageSpec) -> Case:
    page = pages.Page(name="docs/images/debian.md", try_me=True, uses=True)
    return Case(spec=spec, today=TODAY, record=RECORD, results=PASSED, signed="yes", page=page)


def found(case: Case) -> dict[str, Finding]:
    return {finding.criterion: finding for finding in judge(case)}


def unmet(case: Case) -> set[str]:
    return {name for name, finding in found(case).items() if finding.standing is not Standing.MET}


def test_there_are_the_fields_22_and_one_of_our_own() -> None:
    ids = [criterion.id for criterion in CRITERIA]
    assert len(ids) == len(set(ids)) == 23
    assert {criterion.id for criterion in CRITERIA if criterion.waivable} == WAIVABLE
    assert {"cloud-init", "upstream-catalog", "trust"} == WAIVABLE


def test_what_was_built_booted_and_signed_meets_all_that_kmi_can_check(best: Case) -> None:
    assert unmet(best) == UNCHECKED


def test_what_was_never_built_is_not_called_good(spec: ImageSpec) -> None:
    standings = {finding.standing for finding in judge(Case(spec=spec, today=TODAY))}
    seen = found(Case(spec=spec, today=TODAY))
    assert seen["source"].standing is Standing.UNKNOWN and seen["baseline-boot"].standing is Standing.UNKNOWN
    assert standings == {Standing.UNKNOWN, Standing.UNMET, Standing.MET}


@pytest.mark.parametrize(
    ("field", "value", "criterion"),
    [
        ("source", "", "source"),
        ("revision", "unversioned", "commit"),
        ("revision", "abc-dirty", "commit"),
        ("pulled", "", "pulled"),
        ("checksum", "", "checksum"),
        ("documentation", "", "documentation"),
        ("download", "", "download"),
        ("licence-url", "", "licence"),
        ("disk-size", "10000000000", "registry-size"),
        ("disk-format", "raw", "qcow2"),
        ("base", "local", "ubi-micro"),
        ("trust", "tls-only", "trust"),
    ],
)
def test_a_record_that_lacks_something(best: Case, field: str, value: str, criterion: str) -> None:
    assert unmet(replace(best, record=RECORD | {field: value})) == UNCHECKED | {criterion}


def test_a_failed_check_and_one_that_did_not_run(best: Case) -> None:
    assert best.results
    failed = tuple(replace(r, outcome=Outcome.FAILED) if r.check == "ssh" else r for r in best.results)
    assert found(replace(best, results=failed))["baseline-boot"].evidence == "ssh on amd64/bios failed: seen"
    without = tuple(result for result in best.results if result.check != "cloud-init")
    assert found(replace(best, results=without))["cloud-init"].evidence == "cloud-init was not run"


def test_the_recipe_is_looked_at(best: Case) -> None:
    recipe = best.spec.recipe
    assert recipe
    fewer = replace(best.spec, recipe=replace(recipe, packages=("git", "qemu-guest-agent")))
    assert found(replace(best, spec=fewer))["default-packages"].evidence == "without vim, tmux, net-tools, a fetch tool"
    more = replace(
        recipe,
        packages=(*recipe.packages, "htop"),
        files=(GuestFile(path="/etc/x", content="", mode=0),),
        run=("a\nb",),
    )
    told = found(replace(best, spec=replace(best.spec, recipe=more)))["additions"]
    assert (told.standing, told.evidence) == (Standing.UNMET, "to be looked at by a person: htop, /etc/x, run: a")


def test_a_waiver_counts_to_its_last_day(best: Case) -> None:
    bad = replace(best, record=RECORD | {"trust": "tls-only"})
    waiver = Waiver(criterion="trust", reason="nothing is signed", until=TODAY)
    waived = replace(bad, spec=replace(bad.spec, waivers=(waiver,)))
    assert found(waived)["trust"].standing is Standing.WAIVED
    late = found(replace(waived, today=date(2026, 11, 21)))["trust"]
    assert late.standing is Standing.UNMET and "ended on 2026-11-20" in late.evidence


def test_pages() -> None:
    text = f"# Debian\n## Try me\n```\n```\n{pages.MARK}\n## Common uses\n"
    assert pages.read("p", text) == pages.Page(name="p", try_me=True, uses=False)
    assert pages.read("p", text + "A bastion host.\nA builder.\n").uses
    assert pages.read("p", "") == pages.Page(name="p")


def outcomes(case: Case, outcome: Outcome, *checks: str) -> Case:
    assert case.results
    return replace(case, results=tuple(replace(r, outcome=outcome) if r.check in checks else r for r in case.results))


def test_a_check_that_does_not_apply_is_no_reproach_beside_others_that_passed(best: Case) -> None:
    assert found(outcomes(best, Outcome.SKIPPED, "dns", "ipv6"))["basics"].standing is Standing.MET
    assert "dns" not in found(outcomes(best, Outcome.SKIPPED, "dns"))["basics"].evidence
    assert found(outcomes(best, Outcome.SKIPPED, "ssh"))["baseline-boot"].standing is Standing.UNMET


def test_a_criterion_whose_every_check_was_skipped_is_not_met(best: Case) -> None:
    seen = found(outcomes(best, Outcome.SKIPPED, "security-policy"))["security-policy"]
    assert (seen.standing, seen.evidence) == (Standing.UNMET, "security-policy skipped: seen")


def test_every_boot_check_stands_for_one_criterion() -> None:
    named = [check for criterion in CRITERIA for check in criterion.checks]
    assert sorted(named) == sorted(CHECKS)
