"""``kmi new`` as somebody meets it who adds a distro."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kmi import cli
from kmi.catalogue import load, select, template


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KMI_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("KMI_DISTROS", raising=False)
    return tmp_path


def kmi(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = cli.main(words)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize("name", ["acme", "acme-os", "9front", "a.b_c", "0", "a" * 63])
def test_a_new_manifest_is_good_as_it_stands(capsys: pytest.CaptureFixture[str], folder: Path, name: str) -> None:
    status, out, err = kmi(capsys, "new", name)
    manifest = folder / f"distros/{name}.yaml"
    assert (status, out) == (0, f"{manifest}\n{folder}/distros/files/{name}-licence.txt\n")
    assert f"kmi check {manifest}" in err
    assert "@" not in manifest.read_text()
    assert kmi(capsys, "check", f"distros/{name}.yaml")[:2] == (0, f"{name}  1.0 (amd64, arm64)\n")


def test_what_is_there_stays(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    for name in ("distros/acme.yaml", "distros/files/acme-licence.txt"):
        (folder / "distros/files").mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
        status, out, err = kmi(capsys, "new", "acme")
        assert (status, out) == (2, "")
        assert "already" in err
        assert [path.read_text() for path in (folder / "distros").rglob("acme*")] == ["mine"]
        (folder / name).unlink()


@pytest.mark.parametrize("name", ["", "Acme", "../acme", "a/b", "acme.", "a\nb", "a" * 64, "acme--"])
def test_a_name_that_no_image_can_have_is_refused(capsys: pytest.CaptureFixture[str], folder: Path, name: str) -> None:
    status, out, err = kmi(capsys, "new", name)
    assert (status, out) == (2, "")
    assert "no distro can have this name" in err
    assert not (folder / "distros").exists()


def test_the_page_on_adding_a_distro_leads_to_the_manifest_that_is_its_example(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    page = (root / "docs/adding-a-distro.md").read_text(encoding="utf-8")
    block = re.findall(r"```yaml\n(cloud_image:\n.*?)```", page, re.DOTALL)
    assert len(block) == 1
    files = template.manifest("ubuntu-minimal")
    (name,) = [name for name in files if name.endswith(".yaml")]
    text = files[name]
    start, end = text.index("cloud_image:"), text.index("# What is added to the publisher's disk")
    text = text[:start] + block[0] + "\n" + text[end:]
    text = text.replace("  arm64: aarch64\n", "  arm64: arm64\n").replace("  amd64: x86_64\n", "  amd64: amd64\n")
    text = text.replace('version: "1.0"', 'version: "24.04"\n    codename: noble')
    text = text.replace("tier: planned\n    reason: the manifest is being written\n", "tier: preview\n")
    for path, content in (files | {name: text}).items():
        target = tmp_path / "distros" / path.removeprefix("distros/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
    made = select(load(tmp_path / "distros"), ["ubuntu-minimal"], "amd64")[0]
    committed = select(load(root / "distros"), ["ubuntu-minimal:24.04"], "amd64")[0]
    assert made.cloud_image == committed.cloud_image
