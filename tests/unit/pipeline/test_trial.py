"""What is kept of boot tests, and what counts as an earlier run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from kmi.catalogue import load, select
from kmi.model.checks import due
from kmi.model.digest import Digest
from kmi.model.platform import Arch, Firmware
from kmi.model.spec import Tier
from kmi.model.stages import CheckResult, Outcome, TestReport
from kmi.pipeline import trial
from kmi.pipeline.trial import Rules, earlier, keep, refused, whole, word

RULES = Rules(tier=Tier.PROPOSED)


def report(day: int = 1, *, failing: str = "", **changes: object) -> TestReport:
    results = tuple(
        CheckResult(
            check=name, machine="amd64/bios", detail="seen", seconds=1.0,
            outcome=Outcome.FAILED if name == failing else Outcome.PASSED,
        )
        for name in due("amd64/bios")
    )  # fmt: skip
    made = TestReport(
        subject=Digest(algorithm="sha256", hex=f"{day:064}"), arch=Arch.AMD64, results=results,
        began=f"2026-11-{day:02}T03:00:00+00:00",
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_every_run_is_kept_in_order_and_the_newest_is_the_result(tmp_path: Path) -> None:
    made = [report(day) for day in (8, 1, 15)]
    for one in made:
        keep(one, RULES, "tiny-1-amd64", tmp_path / "test/amd64")
    assert earlier("tiny-1-amd64", [tmp_path]) == tuple(sorted(made, key=lambda one: one.began))
    assert json.loads((tmp_path / "test/amd64/results.json").read_text())["began"] == made[-1].began
    assert earlier("other-1-amd64", [tmp_path]) == ()


def test_the_same_run_from_two_folders_counts_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        keep(report(), RULES, "tiny-1-amd64", tmp_path / name)
    assert len(earlier("tiny-1-amd64", [tmp_path / "a", tmp_path / "b", tmp_path / "nowhere"])) == 1


def test_what_is_simulated_or_damaged_proves_nothing(tmp_path: Path) -> None:
    keep(report(1, simulated=True, runner="kubevirt"), RULES, "tiny-1-amd64", tmp_path)
    keep(report(2), RULES, "tiny-1-amd64", tmp_path)
    (kept,) = (tmp_path / "history").iterdir()
    for number, text in enumerate(["", "{", "[]", '{"image": "tiny-1-amd64"}', kept.read_text()[:-20]]):
        (tmp_path / "history" / f"{number}.json").write_text(text)
    forged = json.loads(kept.read_text()) | {"simulated": True, "began": "2026-12-01T00:00:00+00:00"}
    (tmp_path / "history" / "forged.json").write_text(json.dumps(forged))
    assert earlier("tiny-1-amd64", [tmp_path]) == (report(2),)


def test_a_history_does_not_grow_for_ever(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(trial, "_KEPT", 3)
    for day in range(1, 8):
        keep(report(day), RULES, "tiny-1-amd64", tmp_path)
    assert [one.began[8:10] for one in earlier("tiny-1-amd64", [tmp_path])] == ["05", "06", "07"]


def test_what_a_guest_writes_is_kept_even_if_it_is_no_text(tmp_path: Path) -> None:
    odd = replace(report().results[0], detail="half of a pair: \ud800")
    keep(report(results=(odd,)), RULES, "tiny-1-amd64", tmp_path)
    (kept,) = earlier("tiny-1-amd64", [tmp_path])
    assert kept.results == (odd,)


def test_a_run_on_one_firmware_of_two_is_not_whole() -> None:
    spec = select(load(Path(__file__).parents[3] / "distros"), ["debian:12"], "amd64")[0]
    assert set(spec.firmware) > {Firmware.BIOS}
    results = report().results
    everywhere = [replace(one, machine=f"amd64/{name}") for name in spec.firmware for one in results]
    assert whole(report(results=tuple(everywhere)), spec)
    assert not whole(report(), spec)
    assert not whole(report(results=tuple(everywhere), runner="kubevirt"), spec)


def test_the_word_for_a_result() -> None:
    words = {
        (tier, failing): word(one, Rules(tier=tier).verdict(one))
        for tier in (Tier.PREVIEW, Tier.PROPOSED)
        for failing in ("", "mtu", "ssh")
        for one in [report(failing=failing)]
    }
    assert words == {
        (Tier.PREVIEW, ""): "passed", (Tier.PREVIEW, "mtu"): "warned", (Tier.PREVIEW, "ssh"): "warned",
        (Tier.PROPOSED, ""): "passed", (Tier.PROPOSED, "mtu"): "warned", (Tier.PROPOSED, "ssh"): "failed",
    }  # fmt: skip


def test_a_refusal_names_each_check_with_what_was_seen(tmp_path: Path) -> None:
    one = report(failing="ssh")
    error = refused("tiny-1-amd64", RULES, RULES.verdict(one), where=None, log=tmp_path)
    facts = dict(error.facts())
    assert error.exit_code == 5 and "tiny-1-amd64" in error.what
    assert "ssh on amd64/bios: failed, seen" in facts["got"]
