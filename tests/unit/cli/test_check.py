"""``kmi check`` as a user and as a workflow meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmi import cli
from tests import manifests
from tests.manifests import FULL, put, written

GOOD = written(FULL)
BAD = GOOD.replace('"user":', '"usr":').replace('"bios"', '"boot"')


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("KMI_DISTROS", "KMI_REGISTRY", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KMI_CACHE", str(tmp_path / "cache"))
    distros = manifests.folder(tmp_path)
    (distros / "acme.yaml").write_text(GOOD)
    return distros


def kmi(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = cli.main(words)
    except SystemExit as stop:
        status = int(stop.code or 0)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_what_is_good_is_listed_and_counted(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    other = put(put(put(FULL, ("distro",), "b"), ("releases", 0, "architectures"), ["amd64", "arm64"]),
                ("firmware", "arm64"), ["uefi"])  # fmt: skip
    (folder / "b.yaml").write_text(written(put(other, ("bootstrap", "boot_packages", "arm64"), ["grub"])))
    assert kmi(capsys, "check") == (
        0,
        "acme  2 (amd64), 1 (amd64)\nb     2 (amd64, arm64), 1 (amd64)\n",
        "good: 2 manifests, 5 images\n",
    )
    assert kmi(capsys, "check", "b")[1] == "b  2 (amd64, arm64)\n"
    assert kmi(capsys, "check", "b:1")[2] == "good: 1 manifest, 1 image\n"
    status, out, err = kmi(capsys, "check", "acme:*", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {"ok": True, "faults": [], "images": ["acme-2-amd64", "acme-1-amd64"]}


def test_a_named_file_is_checked_alone_and_with_a_selector_beside_all(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "bad.yaml").write_text(BAD)
    assert kmi(capsys, "check", "distros/acme.yaml")[0] == 0
    status, out, err = kmi(capsys, "check", "distros/none.yaml", "acme", "--json")
    assert status == 2
    told = json.loads(out)
    assert (told["ok"], told["images"]) == (False, [])
    assert told["faults"][0] == {
        "file": "distros/none.yaml", "line": 1, "message": "cannot be read: No such file or directory",
    }  # fmt: skip
    assert {fault["file"] for fault in told["faults"][1:]} == {"distros/bad.yaml"}
    assert "distros/bad.yaml:1: user: missing" in err


def test_every_error_is_told_with_file_and_line(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "acme.yaml").write_text(BAD)
    status, out, err = kmi(capsys, "check")
    lines = err.splitlines()
    assert (status, out, lines[0]) == (2, "", "error: 3 errors in the manifests:")
    assert "  distros/acme.yaml:12: usr: unknown key; did you mean user?" in lines
    assert "  distros/acme.yaml:1: user: missing" in lines
    assert any(line.startswith("  distros/acme.yaml:2") and "'boot' is not one of bios, uefi" in line for line in lines)


def test_every_error_is_an_annotation_under_github(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (folder / "acme.yaml").write_text(BAD)
    (folder / "a,b:c.yaml").write_text("a: |\n  ::error::x\n")
    commands = [line for line in kmi(capsys, "check")[2].splitlines() if line.startswith("::")]
    assert "::error file=distros/acme.yaml,line=12::usr: unknown key; did you mean user?" in commands
    assert all(line.startswith("::error file=distros/") for line in commands)
    assert sum(line.startswith("::error file=distros/a%2Cb%3Ac.yaml,line=1::") for line in commands) >= 3
    assert len(commands) == len(set(commands)) > 5


def test_settings_are_checked_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "kmi.toml").write_text('\nbase = 3\nchace = "x"\n')
    status, out, err = kmi(capsys, "check")
    assert (status, out) == (2, "")
    assert err.splitlines()[:3] == [
        "error: 2 errors in the settings:",
        "  kmi.toml:2: setting 'base' is not text, but 3",
        "  kmi.toml:3: unknown setting 'chace'; did you mean 'cache'?",
    ]


HOSTILE = [
    "", " ", "-rf", "a\nb", "../../x", "x" * 100_000, "*a" * 40_000, "[a-z]*", "??", "ü", "\u202edebian", "a:b:c",
    "\udcff", "\x1b[2J", "%s%n", "acme\r\n::error::x", "~nobody/x", "/" * 5000, "acme:" + "1*" * 30_000, "\0",
]  # fmt: skip
FORMS = [
    "list {}", "check {}", "build {}", "run {}", "inspect {}", "vm {}", "verify {} --key k", "list --arch={}",
    "list --distros={}", "build acme -j{}", "build acme --as-of={}", "build acme --source={}", "build acme --base={}",
    "build acme --arch={}", "vm 127.0.0.1:1/a:b --name={}", "vm 127.0.0.1:1/a:b --arch={}",
    "verify 127.0.0.1:1/a:b --key={}", "verify 127.0.0.1:1/a:b --key k --signed-for={}", "run acme --to={}", "{}",
]  # fmt: skip
HARMLESS = {("build acme --as-of={}", "a:b:c")}


@pytest.mark.parametrize("form", FORMS)
def test_no_argument_does_more_than_be_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("the argument was taken")

    monkeypatch.setattr("kmi.host.doctor.require", lambda *_: None)
    monkeypatch.setattr("kmi.publish.keys.ensure", refused)
    monkeypatch.setattr("kmi.pipeline.releases.each", refused)
    monkeypatch.setattr("kmi.oci.registry.resolve", refused)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    for value in [*HOSTILE, *(["--"] if "=" in form else [])]:
        if (form, value) in HARMLESS:
            continue
        words = [word.format(value) if "{}" in word else word for word in form.split(" ")]
        status, out, err = kmi(capsys, *words)
        assert (status, out) == (2, ""), ascii(value[:20])
        assert "Traceback" not in err
        assert len(err) < 6000
        commands = [line for line in err.splitlines() if line.lstrip().startswith(("::", "##["))]
        assert all(line.startswith("::error") and line != "::error::x" for line in commands), "the argument's own"
    assert not list(tmp_path.glob("**/kmi-crash*"))
