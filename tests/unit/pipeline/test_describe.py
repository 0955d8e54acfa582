from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from kmi.pipeline.describe import repository
from kmi.settings import Settings


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.invalid"]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "distros").mkdir()
    (tmp_path / "distros" / "x.yaml").write_text("a")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "x")
    return tmp_path / "distros"


def test_the_commit_and_whether_the_catalogue_was_changed(catalogue: Path) -> None:
    commit = git(catalogue, "rev-parse", "HEAD")
    assert repository(Settings(distros=catalogue)) == ("kmi:distros", commit)
    (catalogue.parent / "elsewhere").write_text("not of the catalogue")
    assert repository(Settings(distros=catalogue))[1] == commit
    (catalogue / "x.yaml").write_text("b")
    assert repository(Settings(distros=catalogue))[1] == f"{commit}-dirty"


@pytest.mark.parametrize(
    ("remote", "recorded"),
    [
        ("https://example.org/kmi", "https://example.org/kmi"),
        ("https://token@example.org/kmi", "kmi:distros"),
        ("/home/somebody/kmi", "kmi:distros"),
        ("git@example.org:kmi", "kmi:distros"),
    ],
)
def test_no_path_and_no_credential_gets_into_an_image(catalogue: Path, remote: str, recorded: str) -> None:
    git(catalogue, "remote", "add", "origin", remote)
    assert repository(Settings(distros=catalogue))[0] == recorded
    assert repository(Settings(distros=catalogue, project="https://example.net/x"))[0] == "https://example.net/x"


def test_a_catalogue_outside_of_git(tmp_path: Path) -> None:
    assert repository(Settings(distros=tmp_path)) == ("kmi:distros", "unversioned")
