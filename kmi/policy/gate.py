"""Whether the tests of an image allow its tags to move. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date

from kmi.model.checks import CHECKS, ESSENTIAL, due
from kmi.model.spec import Tier, Waiver
from kmi.model.stages import CheckResult, Outcome, TestReport, Verdict
from kmi.policy.criteria import CRITERIA
from kmi.policy.tiers import GATES


def gate(
    tier: Tier, reports: tuple[TestReport, ...], *, waivers: tuple[Waiver, ...] = (), today: date = date.max
) -> Verdict:
    """The verdict over the reports of all architectures.

    A blocking check has to pass on every machine where it is due (``kmi.model.checks.due``). One that a report does not
    have blocks (as a result of its own, outcome ``skipped``), and so does an essential one that was skipped; any other
    may be skipped with its reason. No report at all blocks too. A waiver takes the checks of its criterion out of the
    blocking ones up to and including its last day, ``today`` being the day (who does not know it has no waiver that
    still counts); after that they block and say so. Advisory are the other checks that failed.
    """
    rules, waived = GATES[tier], _waived(waivers)
    reported = reports or (None,)
    unmet = [result for report in reported for result in _unmet(report, rules.blocking)]
    blocking = [_ended(result, waived) for result in unmet if not _spared(result, waived, today)]
    advisory = [result for result in unmet if _spared(result, waived, today)]
    advisory += [
        result
        for report in reports
        for result in report.results
        if result.check in rules.advisory and result.outcome is Outcome.FAILED
    ]
    return Verdict(allowed=rules.publish and not blocking, blocking=tuple(blocking), advisory=tuple(advisory))


def _unmet(report: TestReport | None, names: Iterable[str]) -> list[CheckResult]:
    """What does not meet the named checks, machine by machine in the report's order."""
    if report is None:
        return [_absent(name, "none") for name in sorted(names)]
    unmet, left = [], {name for name in names if CHECKS[name].cluster or report.runner != "kubevirt"}
    for machine in dict.fromkeys(result.machine for result in report.results):
        for name in (name for name in due(machine) if name in left):
            found = [result for result in report.results if (result.check, result.machine) == (name, machine)]
            unmet += [result for result in found if not _met(result)] if found else [_absent(name, machine)]
    seen = {result.check for result in report.results}
    return unmet + [_absent(name, str(report.arch)) for name in sorted(left - seen - {one.check for one in unmet})]


def _met(result: CheckResult) -> bool:
    if result.outcome is Outcome.SKIPPED:
        return result.check not in ESSENTIAL
    return result.outcome is Outcome.PASSED


def _waived(waivers: Iterable[Waiver]) -> dict[str, Waiver]:
    """The waiver of each check whose criterion has one."""
    checks = {criterion.id: criterion.checks for criterion in CRITERIA}
    return {name: waiver for waiver in waivers for name in checks.get(waiver.criterion, ())}


def _spared(result: CheckResult, waived: dict[str, Waiver], today: date) -> bool:
    waiver = waived.get(result.check)
    return waiver is not None and today <= waiver.until


def _ended(result: CheckResult, waived: dict[str, Waiver]) -> CheckResult:
    waiver = waived.get(result.check)
    return replace(result, detail=f"{result.detail} (the waiver ended on {waiver.until})") if waiver else result


def _absent(name: str, machine: str) -> CheckResult:
    return CheckResult(check=name, machine=machine, outcome=Outcome.SKIPPED, detail="was not run", seconds=0.0)
