"""Reports for the tests beside this file."""

from __future__ import annotations

from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import Tier
from kmi.model.stages import CheckResult, Outcome, TestReport, Verdict
from kmi.policy.gate import gate

PASSED, FAILED, SKIPPED = Outcome.PASSED, Outcome.FAILED, Outcome.SKIPPED
HEX = "a" * 64
NOTHING = Verdict(allowed=True, blocking=(), advisory=())


def row(
    check: str, outcome: Outcome, detail: str = "seen", *, machine: str = "amd64/bios", seconds: float = 1.25
) -> CheckResult:
    return CheckResult(check=check, machine=machine, outcome=outcome, detail=detail, seconds=seconds)


def report(*rows: CheckResult) -> TestReport:
    return TestReport(
        subject=Digest(algorithm="sha256", hex=HEX), arch=Arch.AMD64, results=rows, runner="qemu", acceleration="tcg",
        began="2026-11-20T22:00:00Z",
    )  # fmt: skip


def verdict(*rows: CheckResult, tier: Tier = Tier.PREVIEW) -> Verdict:
    return gate(tier, (report(*rows),))
