"""``kmi show --ready``: a proposal after green runs, in one line that a person changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmi import cli
from kmi.model.checks import due
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import Tier
from kmi.model.stages import CheckResult, Outcome, TestReport
from kmi.pipeline.trial import Rules, keep

DISTROS = Path(__file__).parents[3] / "distros"
SUBJECT = Digest(algorithm="sha256", hex="0" * 64)

pytestmark = pytest.mark.usefixtures("elsewhere")


def runs(folder: Path, image: str, arch: Arch, days: range, firmware: str = "uefi") -> None:
    """Green runs on one firmware, one a day."""
    results = tuple(
        CheckResult(check=name, machine=machine, outcome=Outcome.PASSED, detail="seen", seconds=1.0)
        for machine in (f"{arch}/{firmware}", f"{arch}/{firmware}/no-seed", str(arch)) for name in due(machine)
    )  # fmt: skip
    for day in days:
        began = f"2026-11-{day:02}T03:00:00+00:00"
        report = TestReport(subject=SUBJECT, arch=arch, results=results, began=began)
        keep(report, Rules(tier=Tier.PREVIEW), image, folder)


def receipt(output: Path, image: str) -> None:
    """What ``kmi build`` leaves of the image that those runs were of."""
    folder = output / image
    folder.mkdir(parents=True, exist_ok=True)
    stages = [{"image": image, "stage": "wrap", "outputs": {"digest": str(SUBJECT)}}]
    (folder / "receipt.json").write_text(json.dumps({"stages": stages}))


def ready(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["show", "--ready", "alpine", "--distros", str(DISTROS), *words]) == 0
    return capsys.readouterr().out


def test_without_runs_nothing_is_proposed(capsys: pytest.CaptureFixture[str]) -> None:
    told = ready(capsys)
    assert "0 of 3 green runs" in told and "tier:" not in told


def test_all_architectures_of_a_release_have_to_be_ready(capsys: pytest.CaptureFixture[str]) -> None:
    (one,) = json.loads(ready(capsys, "--json"))
    images = {image["id"]: Arch(image["id"].rpartition("-")[2]) for image in one["images"]}
    assert len(images) > 1
    first, *others = images
    for number, (image, arch) in enumerate(images.items()):
        runs(Path("build") / image / "test" / arch, image, arch, range(1, 4))
        receipt(Path("build"), image)
        told = ready(capsys)
        assert told.count("✓") == number + 1
        assert ("Ready." in told) == (number == len(others))
    changed = [line for line in told.splitlines() if line.startswith(("+ ", "- "))]
    assert len(changed) == 2 and all("tier: " in line for line in changed)
    (one,) = json.loads(ready(capsys, "--json"))
    assert one["ready"] and one["release"] in first


def test_other_machines_results_count_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (one,) = json.loads(ready(capsys, "--json"))
    image = one["images"][0]["id"]
    runs(tmp_path / "artifacts" / "a", image, Arch(image.rpartition("-")[2]), range(1, 3))
    (told,) = json.loads(ready(capsys, "--json", "--evidence", str(tmp_path / "artifacts"), "--runs", "2"))
    assert {row["id"]: row["green"] for row in told["images"]}[image] == 2


def test_runs_on_other_firmware_than_the_image_claims_do_not_count(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image = "alpine-3.24-amd64"
    runs(tmp_path / "uefi", image, Arch.AMD64, range(1, 3))
    runs(tmp_path / "bios", image, Arch.AMD64, range(4, 9), firmware="bios")
    found = json.loads(ready(capsys, "--json", "--evidence", str(tmp_path)))
    assert {row["id"]: row["green"] for one in found for row in one["images"]}[image] == 2


def test_evidence_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["show", "--ready", "alpine", "--distros", str(DISTROS), "--evidence", str(tmp_path / "typo")]
    assert cli.main(words) == 2
    assert "there is no such folder" in capsys.readouterr().err
