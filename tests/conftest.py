"""A skip must not hide a missing tool: what ``KMI_REQUIRE`` names may not be skipped."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

REQUIRED = [word.strip().lower() for word in os.environ.get("KMI_REQUIRE", "").split(",") if word.strip()]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        missing = [word for word in REQUIRED if word in reason.lower()]
        if missing:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped although KMI_REQUIRE names {missing}: {reason}"
    return report
