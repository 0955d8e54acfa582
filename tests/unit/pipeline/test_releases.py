from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from kmi import catalogue
from kmi.errors import BuildError, HostError, Interrupted, ManyErrors, NetworkError, UsageError
from kmi.host import run as programs
from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec, Tier
from kmi.pipeline.releases import Release, each, folder, releases

DISTROS = Path(__file__).parents[3] / "distros"


@pytest.fixture
def spec() -> ImageSpec:
    (found,) = catalogue.select(catalogue.load(DISTROS), ["debian:12"], "amd64")
    return found


def other(spec: ImageSpec, release: str, tier: Tier = Tier.PREVIEW) -> ImageSpec:
    return replace(spec, id=replace(spec.id, release=release), tier=tier)


def several(spec: ImageSpec) -> tuple[Release, ...]:
    return releases([other(spec, name) for name in ("1", "2", "3")], Arch.AMD64)


def test_a_release_has_its_folder(spec: ImageSpec) -> None:
    (group,) = releases([spec], Arch.AMD64)
    arm = replace(spec, id=replace(spec.id, arch=Arch.ARM64))
    assert folder(Path("build"), group) == Path("build/debian-12-amd64")
    assert folder(Path("build"), (spec, arm)) == Path("build/debian-12")


def test_planned_images_are_left_out_and_alone_refused(spec: ImageSpec) -> None:
    planned = other(spec, "13", Tier.PLANNED)
    assert releases([planned, spec], Arch.AMD64) == ((spec,),)
    with pytest.raises(UsageError, match="only planned"):
        releases([planned], Arch.AMD64)


def test_another_architecture_is_refused_before_anything_is_fetched(spec: ImageSpec) -> None:
    with pytest.raises(HostError, match="cannot be built on this host"):
        releases([spec], Arch.ARM64)


def test_results_come_in_the_selections_order(spec: ImageSpec) -> None:
    first_may_end = threading.Event()
    told: list[str] = []

    def work(release: Release) -> str:
        name = release[0].id.release
        if name == "1":
            assert first_may_end.wait(10)
        else:
            first_may_end.set()
        return name

    each(work, told.append, several(spec), jobs=2)
    assert told == ["1", "2", "3"]


def test_one_failure_does_not_stop_the_others_nor_hide_their_results(spec: ImageSpec) -> None:
    told: list[str] = []

    def work(release: Release) -> str:
        name = release[0].id.release
        if name == "1":
            raise NetworkError("no")
        if name == "2":
            raise BuildError("no")
        return name

    with pytest.raises(ManyErrors) as caught:
        each(work, told.append, several(spec), jobs=2)
    assert told == ["3"]
    assert sorted(caught.value.failures) == ["debian-1", "debian-2"]
    assert caught.value.exit_code == NetworkError.exit_code
    with pytest.raises(NetworkError):
        each(work, told.append, several(spec)[:1], jobs=2)


def test_an_interrupt_stops_what_runs_and_what_has_not_begun(spec: ImageSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_STOPPED", threading.Event())
    begun: list[str] = []

    def work(release: Release) -> str:
        begun.append(release[0].id.release)
        if len(begun) == 1:
            return "done"
        programs.run(["sleep", "60"])
        raise AssertionError("the program ran to its end")

    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each(work, interrupted, several(spec), jobs=1)
    assert begun in (["1"], ["1", "2"])
    assert programs.stopping()
    with pytest.raises(Interrupted):
        programs.run(["sleep", "60"])
