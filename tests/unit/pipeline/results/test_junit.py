from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from kmi.model.checks import CLOUD_INIT, GUEST_AGENT, LOGIN_PROMPT, SSH
from kmi.model.spec import Tier
from kmi.model.stages import CheckResult
from kmi.pipeline.results.junit import LONGEST, junit
from tests.unit.pipeline.results.reported import FAILED, HEX, PASSED, SKIPPED, report, row, verdict

MIXED = (
    row(LOGIN_PROMPT, PASSED, "debian login:"),
    row(CLOUD_INIT, FAILED, "status: error\nin full"),
    row(SSH, SKIPPED, "the image has no default user"),
    row(LOGIN_PROMPT, PASSED, machine="amd64/uefi", seconds=0.5),
)


def parsed(*rows: CheckResult, tier: Tier = Tier.PREVIEW) -> Element:
    text = junit(report(*rows), verdict(*rows, tier=tier), tier)
    assert text == junit(report(*rows), verdict(*rows, tier=tier), tier)
    return ElementTree.fromstring(text.encode())


def case(root: Element, check: str, machine: str = "amd64/bios") -> Element:
    (found,) = root.findall(f"testsuite[@name='{machine}']/testcase[@name='{check}']")
    return found


def test_a_suite_for_each_machine_and_a_case_for_each_check() -> None:
    root = parsed(*MIXED)
    assert [(suite.get("name"), len(suite.findall("testcase"))) for suite in root] == [
        ("amd64/bios", 3), ("amd64/uefi", 1),
    ]  # fmt: skip
    counts = {name: root[0].get(name) for name in ("tests", "failures", "errors", "skipped", "time", "timestamp")}
    assert counts == {
        "tests": "3", "failures": "1", "errors": "0", "skipped": "1", "time": "3.750",
        "timestamp": "2026-11-20T22:00:00Z",
    }  # fmt: skip
    assert {name: root.get(name) for name in ("tests", "failures", "skipped", "time")} == {
        "tests": "4", "failures": "1", "skipped": "1", "time": "4.250",
    }  # fmt: skip
    passed = case(root, LOGIN_PROMPT)
    assert (passed.get("classname"), passed.get("time")) == ("kmi.amd64/bios", "1.250")
    assert [(part.tag, part.text) for part in passed] == [("system-out", "debian login:")]
    (failure,) = case(root, CLOUD_INIT)
    assert (failure.tag, failure.get("type"), failure.get("message"), failure.text) == (
        "failure", "advisory", "status: error", "status: error\nin full",
    )  # fmt: skip
    (skipped,) = case(root, SSH)
    assert (skipped.tag, skipped.get("message")) == ("skipped", "the image has no default user")


def test_properties_say_what_was_tested_how() -> None:
    simulated = replace(report(*MIXED), runner="kubevirt", simulated=True)
    root = ElementTree.fromstring(junit(simulated, verdict(*MIXED), Tier.PREVIEW))
    for suite in root:
        assert {one.get("name"): one.get("value") for one in suite.findall("properties/property")} == {
            "image": f"sha256:{HEX}", "arch": "amd64", "runner": "kubevirt", "acceleration": "tcg",
            "simulated": "true", "tier": "preview",
        }  # fmt: skip


def test_what_blocks_is_a_failure_also_where_it_was_skipped_or_not_made() -> None:
    root = parsed(*MIXED, tier=Tier.PROPOSED)
    for check, said in ((CLOUD_INIT, "status: error"), (SSH, "no default user"), (GUEST_AGENT, "was not run")):
        (failure,) = case(root, check)
        assert (failure.tag, failure.get("type")) == ("failure", "blocking")
        assert said in (failure.get("message") or "")
    counted = [(suite.get("failures"), suite.get("skipped")) for suite in root]
    assert counted == [(str(len(suite.findall(".//failure"))), str(len(suite.findall(".//skipped")))) for suite in root]


@pytest.mark.parametrize(
    ("detail", "seen"),
    [
        ("]]></failure><x/>", "]]></failure><x/>"),
        ("&lt; &#0; <!ENTITY a 'b'>", "&lt; &#0; <!ENTITY a 'b'>"),
        ("a\x00b\x1bc\x7f", "a�b�c\x7f"),
        ("\ufffe\uffff\ud800", "���"),
        ("tab\tline\nend 𐍈", "tab\tline\nend 𐍈"),
        ("", None),
    ],
)
@pytest.mark.parametrize("outcome", [PASSED, FAILED])
def test_a_hostile_detail_stays_a_detail(outcome, detail: str, seen: str | None) -> None:
    root = parsed(row(SSH, outcome, detail))
    (part,) = case(root, SSH)
    assert (part.text, list(part)) == (seen, [])


def test_an_endless_detail_is_cut() -> None:
    text = junit(report(row(SSH, FAILED, "x\x01" * (1 << 20))), verdict(), Tier.PREVIEW)
    assert len(text) < 2 * LONGEST
    (failure,) = case(ElementTree.fromstring(text), SSH)
    assert failure.text is not None and failure.text.endswith(f"[{(2 << 20) - LONGEST} characters are left out]")
    assert len(failure.get("message") or "") == 200


@pytest.mark.parametrize("detail", ["\ud800 <a>\n", "\x00", '"&\n'])
def test_a_hostile_skip_reason_and_name(detail: str) -> None:
    root = parsed(row(detail, SKIPPED, detail, machine=f"amd64/{detail}"))
    assert len(root.findall("testsuite/testcase/skipped")) == 1
