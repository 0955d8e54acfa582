import pytest

from kmi.model.checks import CRITERIA
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import Tier
from kmi.model.stages import CheckResult, Outcome, TestReport
from kmi.policy.gate import gate
from kmi.policy.tiers import GATES

PASSED, FAILED, SKIPPED = Outcome.PASSED, Outcome.FAILED, Outcome.SKIPPED


def result(check: str, outcome: Outcome, machine: str = "amd64/bios") -> CheckResult:
    return CheckResult(check=check, machine=machine, outcome=outcome, detail="seen", seconds=1.0)


def report(*results: CheckResult, arch: Arch = Arch.AMD64) -> TestReport:
    return TestReport(subject=Digest(algorithm="sha256", hex="0" * 64), arch=arch, results=results)


def every(outcome: Outcome, machine: str = "amd64/bios") -> list[CheckResult]:
    return [result(name, outcome, machine) for name in CRITERIA]


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


@pytest.mark.parametrize("check", CRITERIA)
@pytest.mark.parametrize("outcome", [FAILED, SKIPPED])
def test_one_unmet_check_on_one_machine_blocks(check, outcome):
    bad = result(check, outcome, "amd64/uefi")
    others = [found for found in every(PASSED, "amd64/uefi") if found.check != check]
    verdict = gate(Tier.PROPOSED, (report(*every(PASSED), bad, *others),))
    assert not verdict.allowed
    assert verdict.blocking == (bad,)


def test_a_check_that_is_absent_on_one_machine_blocks():
    verdict = gate(Tier.PROPOSED, (report(*every(PASSED), result("login-prompt", PASSED, "amd64/uefi")),))
    assert not verdict.allowed
    assert {(found.check, found.machine) for found in verdict.blocking} == {
        ("cloud-init", "amd64/uefi"), ("guest-agent", "amd64/uefi"), ("ssh", "amd64/uefi")
    }  # fmt: skip
    assert {found.outcome for found in verdict.blocking} == {SKIPPED}


def test_an_empty_report_of_one_architecture_blocks():
    verdict = gate(Tier.STABLE, (report(*every(PASSED)), report(arch=Arch.ARM64)))
    assert not verdict.allowed
    assert {found.machine for found in verdict.blocking} == {"arm64"}


def test_no_report_at_all_blocks():
    assert not gate(Tier.PROPOSED, ()).allowed
    assert gate(Tier.PREVIEW, ()).allowed
