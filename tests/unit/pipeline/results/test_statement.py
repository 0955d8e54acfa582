from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from kmi.host.files import canonical
from kmi.model.checks import CLOUD_INIT, CRITERIA, GUEST_AGENT, LOGIN_PROMPT, SSH
from kmi.model.platform import Arch
from kmi.model.spec import Tier
from kmi.model.stages import CheckResult, Verdict
from kmi.pipeline.results.statement import SKIPPED as SKIPPED_TESTS
from kmi.pipeline.results.statement import predicate, statement
from tests.unit.pipeline.results.reported import FAILED, HEX, NOTHING, PASSED, SKIPPED, report, row, verdict

MIXED = (row(LOGIN_PROMPT, PASSED), row(CLOUD_INIT, FAILED), row(SSH, SKIPPED), row("units", FAILED, machine="amd64"))


def told(*rows: CheckResult, by: Verdict | None = None, tier: Tier = Tier.PREVIEW) -> dict[str, Any]:
    return predicate(report(*rows), by or verdict(*rows, tier=tier), tier)


def lists(found: dict[str, Any]) -> tuple[list[str], ...]:
    return tuple(found[name] for name in ("passedTests", "warnedTests", "failedTests", SKIPPED_TESTS))


def test_the_statement_is_of_the_manifest_that_was_booted() -> None:
    found = statement(report(*MIXED), verdict(*MIXED), Tier.PREVIEW, "registry.test/kmi/debian")
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert found["subject"] == [{"name": "registry.test/kmi/debian", "digest": {"sha256": HEX}}]
    assert found["predicate"] == told(*MIXED)
    assert statement(report(), NOTHING, Tier.PREVIEW)["subject"] == [{"digest": {"sha256": HEX}}]


def test_what_only_advises_warns() -> None:
    found = told(*MIXED)
    assert found["result"] == "WARNED"
    assert lists(found) == (
        ["amd64/bios login-prompt"], ["amd64/bios cloud-init", "amd64 units"], [], ["amd64/bios ssh"],
    )  # fmt: skip


def test_what_blocks_fails_also_where_it_was_not_made() -> None:
    found = told(*MIXED, tier=Tier.PROPOSED)
    assert found["result"] == "FAILED"
    assert set(found["failedTests"]) >= {"amd64/bios cloud-init", "amd64/bios ssh", f"amd64/bios {GUEST_AGENT}"}
    assert found["passedTests"] == ["amd64/bios login-prompt"]
    named = [name for names in lists(found) for name in names]
    assert len(named) == len(set(named))


def test_a_verdict_may_word_details_anew_and_be_over_other_images_too() -> None:
    by = Verdict(
        allowed=False,
        blocking=(replace(MIXED[1], detail="the waiver ended"), row(SSH, FAILED, machine="arm64/uefi")),
        advisory=(row("mtu", SKIPPED, "was not run"),),
    )
    assert lists(told(*MIXED, by=by)) == (
        ["amd64/bios login-prompt"], ["amd64 units"], ["amd64/bios cloud-init"], ["amd64/bios ssh", "amd64/bios mtu"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "result"),
    [
        ((row(LOGIN_PROMPT, PASSED), row(SSH, SKIPPED)), "PASSED"),
        ((row(LOGIN_PROMPT, SKIPPED), row(SSH, SKIPPED)), "WARNED"),
        ((), "WARNED"),
    ],
)
def test_an_image_that_was_not_booted_has_not_passed(rows: tuple[CheckResult, ...], result: str) -> None:
    assert told(*rows, by=NOTHING)["result"] == result


def test_a_waived_check_that_was_not_made_warns() -> None:
    by = Verdict(allowed=True, blocking=(), advisory=(row(SSH, SKIPPED),))
    found = told(row(LOGIN_PROMPT, PASSED), row(SSH, SKIPPED), by=by)
    assert (found["result"], found["warnedTests"], found[SKIPPED_TESTS]) == ("WARNED", [], ["amd64/bios ssh"])


def test_the_configuration_says_what_was_tested_how() -> None:
    checks, tier, runner = told(*MIXED, tier=Tier.PROPOSED)["configuration"]
    assert checks["annotations"] == CRITERIA
    assert tier["annotations"]["tier"] == "proposed"
    assert set(tier["annotations"]["blocking"]) >= {LOGIN_PROMPT, GUEST_AGENT, CLOUD_INIT, SSH}
    assert runner["annotations"] == {"runner": "qemu", "acceleration": "tcg", "simulated": False}
    for one in (checks, tier, runner):
        assert one["digest"] == {"sha256": hashlib.sha256(canonical(one["annotations"])).hexdigest()}
    assert [one["name"] for one in (checks, tier, runner)] == ["checks", "tier", "runner"]


def test_another_boot_with_the_same_outcome_says_the_same() -> None:
    """Else every rerun would attest anew."""
    again = replace(
        report(*(replace(one, detail="otherwise", seconds=9.0) for one in MIXED)), began="2027-01-01T00:00:00Z"
    )
    first = predicate(report(*MIXED), verdict(*MIXED), Tier.PREVIEW)
    assert predicate(again, verdict(*MIXED), Tier.PREVIEW) == first
    assert json.loads(json.dumps(first)) == first
    for other in (
        replace(again, simulated=True),
        replace(again, acceleration="kvm"),
        replace(again, runner="kubevirt"),
    ):
        assert predicate(other, verdict(*MIXED), Tier.PREVIEW) != first


def test_another_architecture_is_another_image() -> None:
    arm = replace(report(*MIXED), arch=Arch.ARM64)
    by = Verdict(allowed=False, blocking=(MIXED[1],), advisory=())
    assert predicate(arm, by, Tier.PREVIEW)["failedTests"] == []
