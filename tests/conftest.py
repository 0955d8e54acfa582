"""A skip must not hide what should be there: no test may be skipped for a reason that ``KMI_REQUIRE`` names."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

REQUIRED = os.environ.get("KMI_REQUIRE", "").split()
"""Words such as ``samples``: the documents recorded from publishers."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and any(word in str(report.longrepr).lower() for word in REQUIRED):
        report.outcome = "failed"
        report.longrepr = f"skipped, but KMI_REQUIRE names it: {report.longrepr}"
    return report
