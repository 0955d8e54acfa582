"""Selectors: what a word on the command line means, and what is said when it means nothing."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest

from kmi.catalogue import Catalogue, load, select
from kmi.errors import UsageError
from kmi.model.platform import Arch
from kmi.model.spec import ImageId

ONE = load(Path(__file__).parents[3] / "distros").specs[0]


def image(distro: str, release: str, arch: str, codename: str = "", *, default: bool = False):  # type: ignore[no-untyped-def]
    name = ImageId(distro=distro, release=release, arch=Arch(arch))
    return replace(ONE, id=name, codename=codename, default=default)


CATALOGUE = Catalogue(
    specs=(
        image("alpine", "3.24", "amd64", default=True),
        image("debian", "12", "amd64", "bookworm", default=True),
        image("debian", "12", "arm64", "bookworm", default=True),
        image("debian", "13", "amd64", "trixie"),
        image("fedora", "44", "s390x", default=True),
    )
)


@pytest.mark.parametrize(
    ("selectors", "arch", "names"),
    [
        (["debian"], "amd64", "debian-12-amd64"),
        (["debian"], "all", "debian-12-amd64 debian-12-arm64"),
        (["debian:13"], "amd64", "debian-13-amd64"),
        (["debian:trixie"], "amd64", "debian-13-amd64"),
        (["debian:*"], "all", "debian-12-amd64 debian-12-arm64 debian-13-amd64"),
        (["debian:1*"], "amd64", "debian-12-amd64 debian-13-amd64"),
        (["*"], "amd64", "alpine-3.24-amd64 debian-12-amd64"),
        (["*:*"], "s390x", "fedora-44-s390x"),
        (["debian:13", "alpine", "debian:*"], "amd64", "alpine-3.24-amd64 debian-12-amd64 debian-13-amd64"),
        (["d*n:12"], "arm64", "debian-12-arm64"),
    ],
)
def test_what_a_selector_means(selectors: list[str], arch: str, names: str) -> None:
    assert " ".join(str(spec.id) for spec in select(CATALOGUE, selectors, arch)) == names


def test_this_machine_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert [str(spec.id) for spec in select(CATALOGUE, ["debian"])] == ["debian-12-arm64"]


@pytest.mark.parametrize(
    ("selector", "arch", "hint"),
    [
        ("debain", "amd64", "did you mean debian?"),
        ("windows", "amd64", "`kmi list` shows every image"),
        ("debian:bookwrm", "amd64", "did you mean bookworm?"),
        ("debian:", "amd64", "`kmi list` shows every image"),
        ("", "amd64", "`kmi list` shows every image"),
        ("deb.an", "amd64", "did you mean debian?"),
        ("debian", "amd46", "did you mean amd64?"),
        ("fedora", "amd64", "try --arch s390x"),
        ("debian:13", "arm64", "try --arch amd64"),
    ],
)
def test_what_is_said_when_it_means_nothing(selector: str, arch: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(CATALOGUE, [selector], arch)
    assert caught.value.hint == hint
