"""Whether the tests of an image allow its tags to move. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kmi.model.spec import Tier
from kmi.model.stages import CheckResult, Outcome, TestReport, Verdict
from kmi.policy.tiers import GATES


def gate(tier: Tier, reports: tuple[TestReport, ...]) -> Verdict:
    """The verdict over the reports of all architectures.

    A blocking check passes only where it ran and passed, on every machine of every report: one that was skipped, or
    that a report does not have, blocks (the latter as a result of its own, outcome ``skipped``). No report at all
    blocks too. Advisory are the checks that ran and failed.
    """
    rules = GATES[tier]
    blocking = [result for report in reports for result in _unmet(report, rules.blocking)]
    if not reports:
        blocking = [_absent(name, "none") for name in sorted(rules.blocking)]
    return Verdict(
        allowed=rules.publish and not blocking,
        blocking=tuple(blocking),
        advisory=tuple(
            result
            for report in reports
            for result in report.results
            if result.check in rules.advisory and result.outcome is Outcome.FAILED
        ),
    )


def _unmet(report: TestReport, names: Iterable[str]) -> list[CheckResult]:
    """What does not meet the named checks, machine by machine in the report's order."""
    machines = list(dict.fromkeys(result.machine for result in report.results)) or [str(report.arch)]
    unmet = []
    for machine in machines:
        for name in sorted(names):
            found = [result for result in report.results if (result.check, result.machine) == (name, machine)]
            unmet += [result for result in found if result.outcome is not Outcome.PASSED]
            if not found:
                unmet.append(_absent(name, machine))
    return unmet


def _absent(name: str, machine: str) -> CheckResult:
    return CheckResult(check=name, machine=machine, outcome=Outcome.SKIPPED, detail="was not run", seconds=0.0)
