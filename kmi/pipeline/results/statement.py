"""A test report as an in-toto Statement v1 with a test result (in-toto/attestation, spec/v1/statement.md and
spec/predicates/test-result.md).

The same report gives the same bytes: no times, and names instead of what was seen, which differs from boot to boot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from kmi.host.files import canonical
from kmi.model.checks import CRITERIA
from kmi.model.spec import Tier
from kmi.model.stages import CheckResult, Outcome, TestReport, Verdict
from kmi.policy.tiers import GATES
from kmi.publish.attest import TEST_RESULT, Result

STATEMENT = "https://in-toto.io/Statement/v1"
SKIPPED = "https://kmi.dev/attestation/skippedTests/v1"
"""A field of kmi's own beside the predicate's, and so a URI (spec/v1/README.md, "Parsing rules"): names of tests."""


def statement(report: TestReport, verdict: Verdict, tier: Tier, repository: str = "") -> dict[str, object]:
    """The whole statement. Its subject is the manifest that was booted, with the name of ``repository`` where the image
    came from one."""
    subject: dict[str, object] = {"name": repository} if repository else {}
    subject["digest"] = {report.subject.algorithm: report.subject.hex}
    return {
        "_type": STATEMENT,
        "subject": [subject],
        "predicateType": TEST_RESULT,
        "predicate": predicate(report, verdict, tier),
    }


def predicate(report: TestReport, verdict: Verdict, tier: Tier) -> dict[str, object]:
    """The test result of one image: ``failedTests`` are what ``verdict`` says blocks, ``warnedTests`` what failed and
    only advises. A blocking test that was not made has failed, a waived one warns; and of an image on which nothing
    passed none may say PASSED."""
    blocking = of(report, verdict.blocking)
    rest = [result for result in rows(report, verdict) if not among(result, blocking)]
    passed = _names(result for result in rest if result.outcome is Outcome.PASSED)
    warned = _names(result for result in rest if result.outcome is Outcome.FAILED)
    doubtful = warned or not passed or of(report, verdict.advisory)
    result = Result.FAILED if blocking else Result.WARNED if doubtful else Result.PASSED
    return {
        "result": str(result),
        "configuration": _configuration(report, tier),
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": _names(blocking),
        SKIPPED: _names(result for result in rest if result.outcome is Outcome.SKIPPED),
    }


def rows(report: TestReport, verdict: Verdict) -> list[CheckResult]:
    """The report's results, and after them those of the verdict that it lacks: of checks that were due and not made."""
    judged = of(report, (*verdict.blocking, *verdict.advisory))
    return [*report.results, *(result for result in judged if not among(result, report.results))]


def among(result: CheckResult, results: Iterable[CheckResult]) -> bool:
    """Whether the same check on the same machine is one of ``results``: a verdict words its details anew."""
    return any((one.check, one.machine) == (result.check, result.machine) for one in results)


def of(report: TestReport, results: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    """Those of ``results`` that are of the report's architecture: a verdict may be over several reports."""
    return tuple(result for result in results if result.machine.partition("/")[0] == report.arch)


def _names(results: Iterable[CheckResult]) -> list[str]:
    """``amd64/bios cloud-init``, each once, in the order of the report."""
    return list(dict.fromkeys(f"{result.machine} {result.check}" for result in results))


def _configuration(report: TestReport, tier: Tier) -> list[dict[str, object]]:
    runner = {"runner": report.runner, "acceleration": report.acceleration, "simulated": report.simulated}
    return [
        _descriptor("checks", CRITERIA),
        _descriptor("tier", {"tier": str(tier), "blocking": sorted(GATES[tier].blocking)}),
        _descriptor("runner", runner),
    ]


def _descriptor(name: str, facts: Mapping[str, object]) -> dict[str, object]:
    """Facts as a resource descriptor (spec/v1/resource_descriptor.md). It must have a digest, a content or a URI: this
    one is the SHA-256 of the facts as JSON with sorted keys and no spaces, so a policy can pin them."""
    return {"name": name, "digest": {"sha256": hashlib.sha256(canonical(facts)).hexdigest()}, "annotations": {**facts}}
