from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kmi.model.checks import CLOUD_INIT, LOGIN_PROMPT
from kmi.model.codec import decode
from kmi.model.spec import Tier
from kmi.model.stages import TestReport, Verdict
from kmi.pipeline import boot
from kmi.pipeline.results import files
from kmi.pipeline.results.statement import statement
from tests.unit.pipeline.results.reported import FAILED, PASSED, report, row, verdict

ROWS = (row(LOGIN_PROMPT, PASSED, seconds=1.2), row(CLOUD_INIT, FAILED, "\ud800]]>\x00", seconds=0.1),
        row(LOGIN_PROMPT, PASSED, machine="amd64/uefi"))  # fmt: skip


def test_three_files(tmp_path: Path) -> None:
    judged = verdict(*ROWS, tier=Tier.PROPOSED)
    written = files.write(report(*ROWS), judged, Tier.PROPOSED, tmp_path / "new", repository="registry.test/a")
    assert sorted((tmp_path / "new").iterdir()) == [written.junit, written.results, written.statement]
    value = json.loads(written.results.read_text())
    assert decode(TestReport, value) == report(*ROWS)
    assert decode(Verdict, value["verdict"]) == judged
    assert (value["tier"], value["seconds"]) == ("proposed", {"amd64/bios": 1.3, "amd64/uefi": 1.25})
    assert json.loads(written.statement.read_text()) == statement(
        report(*ROWS), judged, Tier.PROPOSED, "registry.test/a"
    )
    assert len(ElementTree.parse(written.junit).findall("testsuite")) == 2


def test_results_are_a_report_for_publish(tmp_path: Path) -> None:
    written = files.write(report(*ROWS), verdict(*ROWS), Tier.PREVIEW, tmp_path)
    assert boot.reports([written.results]) == {report().subject: report(*ROWS)}


def test_old_files_stay_whole_when_a_write_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = files.write(report(*ROWS), verdict(*ROWS), Tier.PREVIEW, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        files.write(report(), verdict(), Tier.STABLE, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert first.results in before
