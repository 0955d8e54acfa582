from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kmi import catalogue
from kmi.errors import BuildError, ManyErrors, NetworkError, UsageError
from kmi.model.spec import ImageSpec, Tier
from kmi.pipeline.releases import Release, each, folder, releases

DISTROS = Path(__file__).parents[3] / "distros"


@pytest.fixture
def specs() -> tuple[ImageSpec, ...]:
    return catalogue.select(catalogue.load(DISTROS), ["debian:12"], "all")


def other(spec: ImageSpec, release: str) -> ImageSpec:
    return replace(spec, id=replace(spec.id, release=release))


def test_architectures_of_a_release_belong_together(specs: tuple[ImageSpec, ...]) -> None:
    (group,) = releases(specs)
    assert [str(spec.id) for spec in group] == ["debian-12-amd64", "debian-12-arm64"]
    assert folder(Path("build"), group) == Path("build/debian-12")
    assert folder(Path("build"), group[:1]) == Path("build/debian-12-amd64")


def test_a_planned_image_is_not_built(specs: tuple[ImageSpec, ...]) -> None:
    with pytest.raises(UsageError, match="only planned"):
        releases([replace(specs[0], tier=Tier.PLANNED)])


def test_one_failure_does_not_stop_the_others(specs: tuple[ImageSpec, ...]) -> None:
    chosen = releases([other(specs[0], name) for name in ("1", "2", "3")])
    finished: list[str] = []

    def work(release: Release) -> str:
        name = release[0].id.release
        if name == "1":
            raise NetworkError("no")
        if name == "2":
            raise BuildError("no")
        finished.append(name)
        return name

    with pytest.raises(ManyErrors) as caught:
        each(work, chosen, jobs=2)
    assert finished == ["3"]
    assert sorted(caught.value.failures) == ["debian-1", "debian-2"]
    assert caught.value.exit_code == NetworkError.exit_code
    with pytest.raises(NetworkError):
        each(work, chosen[:1], jobs=2)
    assert each(work, chosen[2:], jobs=2) == ("3",)
