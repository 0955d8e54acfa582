"""A test report as JUnit XML, as CI systems read it: there is no standard, so only what Jenkins, GitLab and GitHub's
actions all take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from kmi.model.spec import Tier
from kmi.model.stages import CheckResult, Outcome, TestReport, Verdict
from kmi.pipeline.results.statement import among, of, rows

LONGEST = 16_000
"""Characters of a detail: guests write in it."""

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML document may hold, not even escaped (XML 1.0, 2.2, "Char")."""


def junit(report: TestReport, verdict: Verdict, tier: Tier) -> str:
    """One test suite for each machine, one test case for each check. What blocks is a failure of type ``blocking``,
    also where it was not run; what failed besides is one of type ``advisory``."""
    blocking = of(report, verdict.blocking)
    results = rows(report, verdict)
    root = Element("testsuites", {"name": "kmi", **_counts(results, blocking)})
    for machine in dict.fromkeys(result.machine for result in results):
        own = [result for result in results if result.machine == machine]
        suite = SubElement(root, "testsuite", {"name": _text(machine), **_counts(own, blocking)})
        if report.began:
            suite.set("timestamp", _text(report.began))
        _properties(suite, report, tier)
        for result in own:
            judged = next((one for one in blocking if among(one, (result,))), None)
            _case(suite, judged or result, blocks=judged is not None)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _counts(results: Sequence[CheckResult], blocking: tuple[CheckResult, ...]) -> dict[str, str]:
    failed = [one for one in results if one.outcome is Outcome.FAILED or among(one, blocking)]
    skipped = [one for one in results if one.outcome is Outcome.SKIPPED and not among(one, blocking)]
    return {
        "tests": str(len(results)),
        "failures": str(len(failed)),
        "errors": "0",
        "skipped": str(len(skipped)),
        "time": _seconds(sum(one.seconds for one in results)),
    }


def _properties(suite: Element, report: TestReport, tier: Tier) -> None:
    properties = SubElement(suite, "properties")
    for name, value in {
        "image": str(report.subject),
        "arch": str(report.arch),
        "runner": report.runner,
        "acceleration": report.acceleration,
        "simulated": "true" if report.simulated else "false",
        "tier": str(tier),
    }.items():
        SubElement(properties, "property", {"name": name, "value": _text(value)})


def _case(suite: Element, result: CheckResult, *, blocks: bool) -> None:
    words = {"classname": f"kmi.{_text(result.machine)}", "name": _text(result.check), "time": _seconds(result.seconds)}
    case = SubElement(suite, "testcase", words)
    detail = _text(result.detail)
    if blocks or result.outcome is Outcome.FAILED:
        kind = "blocking" if blocks else "advisory"
        SubElement(case, "failure", {"type": kind, "message": _line(detail)}).text = detail
    elif result.outcome is Outcome.SKIPPED:
        SubElement(case, "skipped", {"message": _line(detail)})
    else:
        SubElement(case, "system-out").text = detail


def _text(text: str) -> str:
    """The text as an XML document may hold it, and not longer than ``LONGEST``."""
    found = _FORBIDDEN.sub("�", text[:LONGEST])
    return found if len(text) <= LONGEST else f"{found}\n[{len(text) - LONGEST} characters are left out]"


def _line(detail: str) -> str:
    return (detail.strip().splitlines() or [""])[0][:200]


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"
