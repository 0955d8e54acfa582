"""The command line as a user meets it: exit statuses, hints."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kmi import cli
from kmi.errors import GateError, ManyErrors, UsageError


def kmi(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = cli.main(words)
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("KMI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KMI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KMI_DISTROS", str(Path(__file__).parents[3] / "distros"))


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["bulid", "debian"], "did you mean build?"),
        (["build", "debian", "--soruce", "x"], "did you mean --source?"),
        (["build", "debain"], "did you mean debian?"),
        (["build", "debian:99"], "kmi list"),
        (["build", "debian", "--arch", "amd46"], "amd64"),
        (["inspect", "."], "oci-layout"),
        (["vm", "debian"], "docker.io/library/debian"),
        (["verify", "a.example/b:c", "--key", "nowhere.pub"], "nowhere.pub"),
    ],
)
def test_wrong_words_are_told_with_a_hint(capsys: pytest.CaptureFixture[str], words: list[str], hint: str) -> None:
    status, out, err = kmi(capsys, *words)
    assert status == UsageError.exit_code
    assert out == ""
    assert hint in err
    assert "Traceback" not in err


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = kmi(capsys, "--help")
    assert status == 0
    assert all(verb in out for verb in cli.VERBS)


def test_list_reads_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = kmi(capsys, "list")
    assert status == 0
    assert "debian" in out
    assert "tls-only" in out


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), 130),
        (GateError("no"), 5),
        (ManyErrors({"a": UsageError("x"), "b": GateError("y")}), 5),
        (OSError(errno.ENOSPC, "No space left on device", "/cache/x"), 7),
        (PermissionError(errno.EACCES, "Permission denied", "/cache/x"), 7),
    ],
)
def test_errors_become_their_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int
) -> None:
    def stop(*_: object) -> int:
        raise error

    monkeypatch.setattr("kmi.cli.list.run", stop)
    assert kmi(capsys, "list")[0] == status


def test_a_host_that_lacks_something_is_refused_early_in_doctors_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("kmi.host.doctor.which", lambda name: None if name == "skopeo" else Path("/bin/true"))
    status, _, err = kmi(capsys, "build", "debian:12", "--arch", "amd64")
    assert status == 7
    assert "skopeo: needed: moves images by digest" in err
    assert "install skopeo" in err
    assert not (tmp_path / "build").exists()
    status, out, _ = kmi(capsys, "doctor")
    assert status == 7
    assert "✗ skopeo" in out
    assert "needed: moves images by digest → install skopeo" in out
