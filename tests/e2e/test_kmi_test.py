"""``kmi test`` on the healthy image: every check passes, also with a ConfigDrive and on what a registry gives back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from kmi.model.checks import due
from tests.e2e.conftest import EXCUSES, ROOT, Run

MACHINES = ("amd64/bios", "amd64/bios/no-seed", "amd64")


def passed(folder: Path) -> list[dict[str, Any]]:
    """The results in a folder, all of which are good."""
    found: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())["results"]
    assert [(one["machine"], one["check"]) for one in found] == [(name, one) for name in MACHINES for one in due(name)]
    for one in found:
        excused = one["outcome"] == "skipped" and EXCUSES.get(one["check"], "no excuse") in one["detail"]
        assert one["outcome"] == "passed" or excused, one
    return found


def test_the_last_build_by_its_selector(each_alone: None, bootstrapped: Run) -> None:
    result = bootstrapped.kmi("test", "debian:12", "--firmware", "bios", "--distros", ROOT / "distros")
    folder = bootstrapped.output / "test/amd64"
    found = passed(folder)
    assert result.stdout.startswith("debian-12-amd64 sha256:") and result.stdout.endswith(" passed\n")
    suites = ElementTree.parse(folder / "junit.xml").getroot()
    assert {suite.get("name") for suite in suites} == set(MACHINES)
    assert len(list(suites.iter("testcase"))) == len(found)
    statement = json.loads((folder / "statement.json").read_text())
    assert statement["predicate"]["result"] == "PASSED"
    assert statement["subject"][0]["digest"]["sha256"] in result.stdout
    assert {"console-bios.log", "console-bios-no-seed.log"} <= {one.name for one in (folder / "log").iterdir()}


def test_what_the_registry_gives_back_with_a_config_drive(each_alone: None, bootstrapped: Run, tmp_path: Path) -> None:
    result = bootstrapped.kmi("test", bootstrapped.reference, "--firmware", "bios", "--seed", "configdrive",
                              "--distros", ROOT / "distros", "--results", tmp_path)  # fmt: skip
    found = {(one["machine"], one["check"]): one["detail"] for one in passed(tmp_path / "amd64")}
    assert "DataSourceConfigDrive" in found["amd64/bios", "cloud-init"]
    assert result.stdout.endswith(" passed\n")
