"""``kmi lock`` as its user calls it; what the publishers say is put in place of asking them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from kmi import cli
from kmi.cli import summary
from kmi.errors import NetworkError, VerificationError
from kmi.model.digest import Digest
from kmi.model.spec import ImageSpec
from kmi.model.stages import Evidence, Locked
from tests.tiny import manifest

FINGERPRINT = "D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81"
TODAY = datetime.now(UTC).replace(microsecond=0)
Answer = Callable[[ImageSpec], Locked]


def offered(spec: ImageSpec, **changes: Any) -> Locked:
    assert spec.cloud_image
    values: dict[str, Any] = {
        "id": spec.id,
        "url": spec.cloud_image.url,
        "digest": Digest(algorithm="sha256", hex="ab" * 32),
        "size": 7,
        "build": "10",
        "released_at": TODAY - timedelta(days=40),
        "evidence": Evidence(kind="openpgp", value=FINGERPRINT),
        "checksums": spec.cloud_image.checksums,
        "format": spec.cloud_image.format,
    }
    return Locked(**(values | changes))


class Publishers:
    """What each distro's publisher answers; ``asked`` counts."""

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, Any] | Exception] = {}
        self.asked: list[str] = []

    def resolve(self, spec: ImageSpec, **_: object) -> Locked:
        self.asked.append(spec.id.distro)
        changes = self.changes.get(spec.id.distro, {})
        if isinstance(changes, Exception):
            raise changes
        return offered(spec, **changes)


@pytest.fixture
def distros(tmp_path: Path) -> Path:
    folder = tmp_path / "distros"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "licence.txt").write_text("Anybody may do anything with it.\n")
    for name in ("a", "b", "c"):
        save(folder, name)
    return folder


def save(folder: Path, name: str, **changes: Any) -> None:
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(manifest(name, FINGERPRINT) | changes, sort_keys=False))


@pytest.fixture
def publishers(tmp_path: Path, distros: Path, monkeypatch: pytest.MonkeyPatch) -> Publishers:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("KMI_", "GITHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KMI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KMI_DISTROS", str(distros))
    found = Publishers()
    monkeypatch.setattr("kmi.pipeline.lock.resolve", found.resolve)
    return found


def locks(distros: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(distros.glob("*.lock.json"))}


def states(out: str) -> dict[str, str]:
    return {row.split()[0]: row.split()[1] for row in out.splitlines()[1:]}


def test_it_writes_a_lock_for_each_distro_and_then_finds_nothing_to_do(
    publishers: Publishers, distros: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["lock"]) == 0
    assert states(capsys.readouterr().out) == {"a-1-amd64": "new", "b-1-amd64": "new", "c-1-amd64": "new"}
    written = locks(distros)
    assert list(written) == ["a.lock.json", "b.lock.json", "c.lock.json"]
    assert cli.main(["lock"]) == 0
    assert set(states(capsys.readouterr().out).values()) == {"same"}
    assert locks(distros) == written


def test_check_writes_nothing_and_tells_what_changed(
    publishers: Publishers, distros: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["lock", "a", "b"])
    written = locks(distros)
    capsys.readouterr()
    digest = Digest(algorithm="sha256", hex="cd" * 32)
    publishers.changes["a"] = {"build": "11", "digest": digest, "released_at": TODAY}
    assert cli.main(["lock", "--check"]) == 0
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["image", "lock", "build", "released", "trust", "remark"]
    assert first.split(maxsplit=7)[:4] == ["a-1-amd64", "changed", "10", "→"]
    assert f"{TODAY:%Y-%m-%d}  openpgp  digest, released_at" in first
    assert locks(distros) == written
    assert cli.main(["lock", "--check", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["written"] is False
    assert {one["id"]: one["state"] for one in told["images"]} == {
        "a-1-amd64": "changed", "b-1-amd64": "same", "c-1-amd64": "new",
    }  # fmt: skip
    assert told["images"][0]["changes"] == ["digest", "build", "released_at"]
    assert (told["images"][0]["old"]["build"], told["images"][0]["new"]["build"]) == ("10", "11")


def test_the_same_file_under_a_newer_signature_changes_nothing(publishers: Publishers, distros: Path) -> None:
    cli.main(["lock", "a"])
    written = locks(distros)
    publishers.changes["a"] = {"released_at": TODAY, "size": None}
    assert cli.main(["lock", "a"]) == 0
    assert locks(distros) == written


@pytest.mark.parametrize("changes", [{"build": "9"}, {"released_at": TODAY - timedelta(days=41)}])
def test_back_in_time_only_when_told_so(
    publishers: Publishers, distros: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    cli.main(["lock", "a"])
    written = locks(distros)
    publishers.changes["a"] = changes
    capsys.readouterr()
    for words in (["lock", "a"], ["lock", "a", "--check"]):
        assert cli.main(words) == VerificationError.exit_code
        captured = capsys.readouterr()
        assert states(captured.out) == {"a-1-amd64": "rollback"}
        assert "--allow-rollback" in captured.err
        assert "a.lock.json:" in captured.err
        assert locks(distros) == written
    assert cli.main(["lock", "a", "--allow-rollback"]) == 0
    assert locks(distros) != written


def test_one_failure_hides_no_other_result_and_the_highest_status_counts(
    publishers: Publishers, distros: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publishers.changes["a"] = VerificationError("the signature is not good")
    publishers.changes["b"] = NetworkError("cannot fetch")
    assert cli.main(["lock"]) == NetworkError.exit_code
    captured = capsys.readouterr()
    assert states(captured.out) == {"a-1-amd64": "failed", "b-1-amd64": "failed", "c-1-amd64": "new"}
    assert "refused: a-1-amd64: the signature is not good" in captured.err
    assert list(locks(distros)) == ["c.lock.json"]


def test_what_no_lock_can_hold_is_that_image_s_failure_alone(
    publishers: Publishers, distros: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publishers.changes["a"] = {"build": "x" * 201}
    assert cli.main(["lock", "a", "b"]) == VerificationError.exit_code
    captured = capsys.readouterr()
    assert states(captured.out) == {"a-1-amd64": "failed", "b-1-amd64": "new"}
    assert "refused: a-1-amd64: the publisher's index gives what no lock can hold" in captured.err


def test_what_failed_keeps_its_entry_beside_what_did_not(publishers: Publishers, distros: Path) -> None:
    releases = [
        {"version": version, "tier": "preview", "default": flag, "architectures": ["amd64"]}
        for version, flag in (("1", "true"), ("2", "false"))
    ]
    save(distros, "a", releases=releases)
    assert cli.main(["lock", "a:*"]) == 0
    before = json.loads(locks(distros)["a.lock.json"])["images"]

    def answer(spec: ImageSpec, **_: object) -> Locked:
        if spec.id.release == "1":
            raise NetworkError("cannot fetch")
        return offered(spec, build="11", digest=Digest(algorithm="sha256", hex="cd" * 32))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kmi.pipeline.lock.resolve", answer)
        assert cli.main(["lock", "a:*"]) == NetworkError.exit_code
    after = json.loads(locks(distros)["a.lock.json"])["images"]
    assert after["1"] == before["1"]
    assert (before["2"]["amd64"]["build"], after["2"]["amd64"]["build"]) == ("10", "11")


def test_a_lock_that_cannot_be_read_stops_its_distro_alone_and_asks_nobody(
    publishers: Publishers, distros: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (distros / "b.lock.json").write_text("{}")
    assert cli.main(["lock"]) == 2
    captured = capsys.readouterr()
    assert states(captured.out) == {"a-1-amd64": "new", "c-1-amd64": "new", "b-1": "failed"}
    assert "distros/b.lock.json:1" in captured.err
    assert sorted(publishers.asked) == ["a", "c"]
    assert locks(distros)["b.lock.json"] == "{}"


def test_a_publisher_who_is_silent_for_long_is_told_and_no_failure(
    publishers: Publishers, distros: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(distros, "a", max_age="39")
    save(distros, "b", max_age="40")
    assert cli.main(["lock", "--check"]) == 0
    captured = capsys.readouterr()
    assert [line for line in captured.out.splitlines() if "nothing new for 40 days" in line] == [
        line for line in captured.out.splitlines() if line.startswith("a-1-amd64")
    ]
    assert "warning: a-1-amd64: its publisher has released nothing for 40 days" in captured.err
    assert "b-1-amd64:" not in captured.err


def test_what_has_nothing_to_lock_is_named(
    publishers: Publishers, distros: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = {"version": "1", "tier": "preview", "default": "true", "architectures": ["amd64"],
             "end_of_life": "2020-01-31"}  # fmt: skip
    save(distros, "a", releases=[ended])
    assert cli.main(["lock"]) == 0
    captured = capsys.readouterr()
    assert "left out: a-1-amd64 is past its end of life: it ended on 2020-01-31" in captured.err
    assert "a-1-amd64" not in captured.out
    assert cli.main(["lock", "a"]) == 2
    assert publishers.asked.count("a") == 0


def test_an_image_that_the_catalogue_has_no_more_leaves_the_lock(
    publishers: Publishers, distros: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["lock", "a"])
    save(distros, "a", releases=[{"version": "2", "tier": "preview", "default": "true", "architectures": ["amd64"]}])
    capsys.readouterr()
    assert cli.main(["lock", "a"]) == 0
    assert states(capsys.readouterr().out) == {"a-2-amd64": "new", "a-1-amd64": "gone"}
    assert list(json.loads(locks(distros)["a.lock.json"])["images"]) == ["2"]


def test_a_changed_manifest_makes_the_lock_anew(
    publishers: Publishers, distros: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["lock", "a"])
    before = json.loads(locks(distros)["a.lock.json"])["images"]["1"]["amd64"]
    changed = manifest("a", FINGERPRINT)["cloud_image"]
    changed["trust"]["fingerprints"].append("0" * 40)
    save(distros, "a", cloud_image=changed)
    capsys.readouterr()
    assert cli.main(["lock", "a"]) == 0
    assert "what the manifest says of it" in capsys.readouterr().out
    after = json.loads(locks(distros)["a.lock.json"])["images"]["1"]["amd64"]
    assert {name for name in after if after[name] != before[name]} == {"manifest", "seal"}


def test_the_summary_of_the_job_is_the_table(
    publishers: Publishers, distros: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(file))
    publishers.changes["b"] = NetworkError("cannot fetch <b>|\n  more")
    assert cli.main(["lock", "--check"]) == NetworkError.exit_code
    lines = file.read_text().splitlines()
    assert lines[:5] == [
        "before", "### Locks: what changed", "", "| image | lock | build | released | trust | remark |",
        "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    assert lines[6] == r"| b-1-amd64 | failed |  |  |  | cannot fetch &lt;b&gt;\| |"
    assert len(lines) == 9


def test_nothing_that_a_publisher_says_formats_the_summary(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    summary.append(file, "x", [("a",), ("1|2\n# *h* <img src=x> [l](u) `c` @all\x1b[2J",), ("y" * 1000,)])
    row, long = file.read_text().splitlines()[4:6]
    assert row == r"| 1\|2 \# \*h\* &lt;img src=x&gt; \[l\](u) \`c\` \@all�\[2J |"
    assert len(long) < 250


def test_a_second_lock_at_the_same_time_loses_nothing(publishers: Publishers, distros: Path) -> None:
    """Two runs over two releases of one distro: each merges into what the other has written."""
    releases = [
        {"version": version, "tier": "preview", "default": flag, "architectures": ["amd64"]}
        for version, flag in (("1", "true"), ("2", "false"))
    ]
    save(distros, "a", releases=releases)
    inner: list[int] = []

    def answer(spec: ImageSpec, **_: object) -> Locked:
        if spec.id.release == "1":
            inner.append(cli.main(["lock", "a:2"]))
        return replace(offered(spec), build=f"1{spec.id.release}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kmi.pipeline.lock.resolve", answer)
        assert (cli.main(["lock", "a:1"]), inner) == (0, [0])
    found = json.loads(locks(distros)["a.lock.json"])["images"]
    assert (found["1"]["amd64"]["build"], found["2"]["amd64"]["build"]) == ("11", "12")
