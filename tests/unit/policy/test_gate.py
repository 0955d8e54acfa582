from dataclasses import replace
from datetime import date

import pytest

from kmi.model.checks import CHECKS, CRITERIA, ESSENTIAL, due
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import Tier, Waiver
from kmi.model.stages import CheckResult, Outcome, TestReport
from kmi.policy.gate import gate
from kmi.policy.tiers import GATES

PASSED, FAILED, SKIPPED = Outcome.PASSED, Outcome.FAILED, Outcome.SKIPPED


def result(check: str, outcome: Outcome, machine: str = "amd64/bios") -> CheckResult:
    return CheckResult(check=check, machine=machine, outcome=outcome, detail="seen", seconds=1.0)


def report(*results: CheckResult, arch: Arch = Arch.AMD64) -> TestReport:
    return TestReport(subject=Digest(algorithm="sha256", hex="0" * 64), arch=arch, results=results)


def every(outcome: Outcome, *machines: str) -> list[CheckResult]:
    """What each machine has to answer; by default one boot with a seed, one without, and the comparison of both."""
    named = machines or ("amd64/bios", "amd64/bios/no-seed", "amd64")
    return [result(name, outcome, machine) for machine in named for name in due(machine)]


def test_every_tier_has_a_gate_and_no_check_is_both_blocking_and_advisory():
    assert set(GATES) == set(Tier)
    for rules in GATES.values():
        assert not rules.blocking & rules.advisory
        assert rules.blocking | rules.advisory <= set(CRITERIA)


def test_a_higher_tier_blocks_at_least_what_a_lower_one_does():
    order = [GATES[tier].blocking for tier in (Tier.PREVIEW, Tier.PROPOSED, Tier.STABLE)]
    assert order[0] == frozenset()
    assert order[0] < order[1] <= order[2] == set(CRITERIA)


@pytest.mark.parametrize("tier", [Tier.PREVIEW, Tier.PROPOSED, Tier.STABLE])
def test_all_passed_is_allowed(tier):
    verdict = gate(tier, (report(*every(PASSED), *every(PASSED, "amd64/uefi")),))
    assert (verdict.allowed, verdict.blocking, verdict.advisory) == (True, (), ())


def test_planned_is_never_published():
    assert not GATES[Tier.PLANNED].build
    assert not gate(Tier.PLANNED, (report(*every(PASSED)),)).allowed


def test_preview_only_advises():
    verdict = gate(Tier.PREVIEW, (report(*every(FAILED)),))
    assert verdict.allowed
    assert {found.check for found in verdict.advisory} == set(CRITERIA)


@pytest.mark.parametrize("check", due("amd64/uefi"))
@pytest.mark.parametrize("outcome", [FAILED, SKIPPED])
@pytest.mark.parametrize("tier", [Tier.PROPOSED, Tier.STABLE])
def test_one_unmet_check_on_one_machine_blocks(check, outcome, tier):
    bad = result(check, outcome, "amd64/uefi")
    others = [found for found in every(PASSED, "amd64/uefi") if found.check != check]
    verdict = gate(tier, (report(*every(PASSED), bad, *others),))
    blocks = check in GATES[tier].blocking and (outcome is FAILED or check in ESSENTIAL)
    assert (verdict.allowed, verdict.blocking) == (not blocks, (bad,) if blocks else ())
    assert verdict.advisory == ((bad,) if outcome is FAILED and not blocks else ())


@pytest.mark.parametrize("check", CHECKS)
def test_a_check_that_is_in_no_report_blocks_stable(check):
    seen = [found for found in every(PASSED) if found.check != check]
    verdict = gate(Tier.STABLE, (report(*seen),))
    assert {found.check for found in verdict.blocking} == {check}
    assert all("not run" in found.detail for found in verdict.blocking)


def test_a_check_is_not_asked_of_a_machine_that_it_is_not_for():
    assert "agent-reboot" not in due("amd64/bios") and due("amd64") == ("identity",)
    assert set(due("amd64/bios/no-seed")) == {"login-prompt", "guest-agent", "agent-ssh-keys", "agent-reboot"}
    assert set(due("amd64/kubevirt")) == {"login-prompt", "guest-agent", "cloud-init", "ssh"}
    assert {name for machine in ("amd64/bios", "amd64/bios/no-seed", "amd64") for name in due(machine)} == set(CHECKS)


def test_a_cluster_is_asked_only_for_what_it_can_tell():
    seen = report(*every(PASSED, "amd64/kubevirt"))
    assert not gate(Tier.STABLE, (seen,)).allowed
    assert gate(Tier.STABLE, (replace(seen, runner="kubevirt"),)).allowed


WAIVER = Waiver(criterion="cloud-init", reason="it has none", until=date(2026, 12, 31))


def test_a_waiver_takes_its_checks_out_of_what_blocks():
    failed = [replace(found, outcome=FAILED) if found.check == "cloud-init" else found for found in every(PASSED)]
    verdict = gate(Tier.STABLE, (report(*failed),), waivers=(WAIVER,), today=WAIVER.until)
    assert verdict.allowed
    assert [found.check for found in verdict.advisory] == ["cloud-init"]


def test_without_a_day_no_waiver_counts():
    failed = [replace(found, outcome=FAILED) if found.check == "cloud-init" else found for found in every(PASSED)]
    assert not gate(Tier.STABLE, (report(*failed),), waivers=(WAIVER,)).allowed


def test_an_expired_waiver_blocks_and_says_so():
    failed = [replace(found, outcome=FAILED) if found.check == "cloud-init" else found for found in every(PASSED)]
    verdict = gate(Tier.STABLE, (report(*failed),), waivers=(WAIVER,), today=date(2027, 1, 1))
    assert not verdict.allowed
    assert [found.detail for found in verdict.blocking] == ["seen (the waiver ended on 2026-12-31)"]


def test_a_waiver_of_something_else_changes_nothing():
    failed = [replace(found, outcome=FAILED) if found.check == "ssh" else found for found in every(PASSED)]
    assert not gate(Tier.STABLE, (report(*failed),), waivers=(WAIVER,), today=WAIVER.until).allowed


def test_a_check_that_is_absent_on_one_machine_blocks():
    verdict = gate(Tier.PROPOSED, (report(*every(PASSED), result("login-prompt", PASSED, "amd64/uefi")),))
    assert not verdict.allowed
    assert {(found.check, found.machine) for found in verdict.blocking} == {
        ("cloud-init", "amd64/uefi"), ("guest-agent", "amd64/uefi"), ("provisioned", "amd64/uefi"),
        ("ssh", "amd64/uefi"),
    }  # fmt: skip
    assert {found.outcome for found in verdict.blocking} == {SKIPPED}


def test_an_empty_report_of_one_architecture_blocks():
    verdict = gate(Tier.STABLE, (report(*every(PASSED)), report(arch=Arch.ARM64)))
    assert not verdict.allowed
    assert {found.machine for found in verdict.blocking} == {"arm64"}


def test_no_report_at_all_blocks():
    assert not gate(Tier.PROPOSED, ()).allowed
    assert gate(Tier.PREVIEW, ()).allowed
