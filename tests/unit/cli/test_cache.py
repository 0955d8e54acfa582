"""``kmi cache`` as its user calls it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from kmi.cli import main
from kmi.cli.cache import age, size
from kmi.host.store import Store


@pytest.mark.parametrize(
    ("text", "number"),
    [("20GiB", 20 << 30), ("1.5 TiB", 3 << 39), ("0", 0), ("100 B", 100), ("4kib", 4096), ("7MiB", 7 << 20)],
)
def test_sizes(text: str, number: int) -> None:
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "20GB", "1e3", "20 GiB x", "٣GiB ", "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        size(text)


def test_ages() -> None:
    assert (age("12h"), age("30d"), age("4w")) == (timedelta(hours=12), timedelta(days=30), timedelta(days=28))
    for text in ("30", "d", "-1d", "1m", "999999d"):
        with pytest.raises(ValueError, match=r".*"):
            age(text)


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    """One blob in a cache, which nobody uses."""
    Store(tmp_path)
    path = tmp_path / "blobs" / "sha256" / ("2d" + "7" * 62)
    path.write_text("x")
    return path


def test_ls_for_machines(blob: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "ls", "--json", "--cache", str(tmp_path)]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert {**entry, "used": ""} == {
        "kind": "blob", "name": blob.name, "size": blob.stat().st_blocks * 512, "used": "", "in_use": False,
    }  # fmt: skip
    assert main(["cache", "ls", "--cache", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("blob ")


def test_prune_says_what_it_did(blob: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["cache", "prune", "--cache", str(tmp_path), "--max-size", "0"]
    assert main([*words, "--dry-run"]) == 0
    assert blob.exists()
    assert "would go" in capsys.readouterr().err
    assert main([*words, "--json"]) == 0
    assert not blob.exists()
    told = capsys.readouterr()
    assert [entry["name"] for entry in json.loads(told.out)] == [blob.name]
    assert "0 B left" in told.err


def test_prune_names_what_it_may_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry" / "data").write_bytes(b"x" * 10_000)
    assert main(["cache", "prune", "--cache", str(tmp_path), "--max-size", "1KiB"]) == 0
    assert "registry registry" in capsys.readouterr().err
    assert (tmp_path / "registry" / "data").exists()


def test_prune_without_a_limit_is_a_mistake(blob: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["cache", "prune", "--cache", str(tmp_path)])
    assert stop.value.code == 2
    assert "--max-size" in capsys.readouterr().err
    assert blob.exists()


def test_verify_ends_with_4_once(blob: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "verify", "--cache", str(tmp_path)]) == 4
    assert blob.name in capsys.readouterr().out
    assert not blob.exists()
    assert main(["cache", "verify", "--json", "--cache", str(tmp_path)]) == 0
    assert json.loads(capsys.readouterr().out) == []
