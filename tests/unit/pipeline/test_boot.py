from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmi.errors import UsageError
from kmi.model.checks import due
from kmi.model.codec import encode
from kmi.model.digest import Digest
from kmi.model.metadata import of_labels
from kmi.model.platform import Arch, Firmware
from kmi.model.spec import ImageId, Tier
from kmi.model.stages import CheckResult, OciImage, Outcome, TestReport
from kmi.pipeline import boot
from kmi.policy.gate import gate

SUBJECT = Digest(algorithm="sha256", hex="a" * 64)
RESULT = CheckResult(check="ssh", machine="amd64/bios", outcome=Outcome.PASSED, detail="let us in", seconds=1.5)
REPORT = TestReport(subject=SUBJECT, arch=Arch.AMD64, results=(RESULT,))
IMAGE = OciImage(
    id=ImageId(distro="debian", release="12", arch=Arch.ARM64),
    layout=Path("nowhere"),
    digest=SUBJECT,
    size=1,
    disk=SUBJECT,
)


def test_a_report_is_read_alone_and_from_a_receipt(tmp_path: Path) -> None:
    alone, receipt = tmp_path / "report.json", tmp_path / "receipt.json"
    alone.write_text(json.dumps(encode(REPORT)))
    rows = [{"stage": "wrap", "outputs": {}}, {"stage": "test", "outputs": {"report": encode(REPORT)}}]
    receipt.write_text(json.dumps({"kmi": "1", "stages": rows}))
    assert boot.reports([alone]) == boot.reports([receipt]) == {SUBJECT: REPORT}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "null",
        "{}",
        '{"stages": []}',
        '{"stages": [{"stage": "wrap", "outputs": {}}]}',
        '{"stages": [{"stage": "test", "outputs": {}}]}',
        '{"stages": 3}',
        json.dumps({**encode(REPORT), "subject": "sha256:1"}),
        json.dumps({**encode(REPORT), "results": [{"check": "ssh"}]}),
        "[" * 100_000,
    ],
)
def test_what_is_no_report_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "report.json"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        boot.reports([file])
    assert caught.value.where == file


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the test report"):
        boot.reports([tmp_path / "none"])


def test_an_image_that_was_not_booted_passes_no_gate_but_previews() -> None:
    report = boot.unbooted(IMAGE, {"firmware": "uefi"}, Arch.AMD64)
    assert [(one.check, one.machine, one.outcome) for one in report.results] == [
        (name, "arm64/uefi", Outcome.SKIPPED) for name in due("arm64/uefi")
    ]
    assert {one.detail for one in report.results} == {"this host is amd64 and boots no arm64 image"}
    assert gate(Tier.PREVIEW, (report,)).allowed
    assert not gate(Tier.PROPOSED, (report,)).allowed
    assert not gate(Tier.STABLE, (report,)).allowed


@pytest.mark.parametrize("text", ["[{}]", '{"_type": "https://in-toto.io/Statement/v1", "subject": [{}]}'])
def test_other_json_is_told_in_words(tmp_path: Path, text: str) -> None:
    file = tmp_path / "statement.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"results\.json of `kmi test`") as caught:
        boot.reports([file])
    assert caught.value.got == "other JSON"


def test_firmware_counts_once() -> None:
    assert boot.firmware(of_labels({}) | {"firmware": "uefi bios uefi"}) == (Firmware.UEFI, Firmware.BIOS)
