from __future__ import annotations

import errno
import threading
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from kmi import catalogue
from kmi.errors import BuildError, HostError, Interrupted, ManyErrors, NetworkError, UsageError
from kmi.host import run as programs
from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec, Tier
from kmi.pipeline.releases import Release, Terms, each, folder, releases

DISTROS = Path(__file__).parents[3] / "distros"
TERMS = Terms(today=date(2026, 11, 20))


@pytest.fixture
def spec() -> ImageSpec:
    (found,) = catalogue.select(catalogue.load(DISTROS), ["debian:12"], "amd64")
    return found


def other(spec: ImageSpec, release: str, tier: Tier = Tier.PREVIEW) -> ImageSpec:
    return replace(spec, id=replace(spec.id, release=release), tier=tier)


def several(spec: ImageSpec) -> tuple[Release, ...]:
    return releases([other(spec, name) for name in ("1", "2", "3")], Arch.AMD64, TERMS)


def test_a_release_has_its_folder(spec: ImageSpec) -> None:
    (group,) = releases([spec], Arch.AMD64, TERMS)
    arm = replace(spec, id=replace(spec.id, arch=Arch.ARM64))
    assert folder(Path("build"), group) == Path("build/debian-12-amd64")
    assert folder(Path("build"), (spec, arm)) == Path("build/debian-12")


def test_planned_images_are_left_out_and_alone_refused(spec: ImageSpec) -> None:
    planned = other(spec, "13", Tier.PLANNED)
    assert releases([planned, spec], Arch.AMD64, TERMS) == ((spec,),)
    with pytest.raises(UsageError, match="only planned"):
        releases([planned], Arch.AMD64, TERMS)


def test_another_architecture_is_refused_before_anything_is_fetched(spec: ImageSpec) -> None:
    with pytest.raises(HostError, match="cannot be built on this host"):
        releases([spec], Arch.ARM64, TERMS)


def test_a_disk_that_is_taken_as_it_is_needs_no_host_of_its_kind(spec: ImageSpec) -> None:
    untouched = replace(spec, recipe=None)
    assert releases([untouched], Arch.ARM64, TERMS) == ((untouched,),)


def test_the_end_of_life_names_its_day_and_the_successor(spec: ImageSpec) -> None:
    last = replace(spec, end_of_life=TERMS.today, successor="13")
    assert releases([last], Arch.AMD64, TERMS) == ((last,),)
    after = replace(TERMS, today=date(2026, 11, 21))
    with pytest.raises(UsageError, match="past its end of life") as caught:
        releases([last, other(spec, "13")], Arch.AMD64, after, named=frozenset({last}))
    assert caught.value.got == "it ended on 2026-11-20"
    assert str(caught.value.hint).startswith("debian:13 replaces it")
    assert releases([last], Arch.AMD64, replace(after, ended=True)) == ((last,),)


def test_what_may_not_be_passed_on_names_its_policy(spec: ImageSpec) -> None:
    restricted = replace(spec, redistribution="https://example.org/policy")
    local, remote = TERMS, replace(TERMS, restricted=False)
    assert releases([restricted], Arch.AMD64, local, named=frozenset({restricted})) == ((restricted,),)
    with pytest.raises(UsageError, match=r"https://example\.org/policy"):
        releases([restricted], Arch.AMD64, remote, named=frozenset({restricted}))


def test_a_wildcard_leaves_out_what_is_refused_and_says_so(spec: ImageSpec) -> None:
    ended = replace(other(spec, "11"), end_of_life=date(2020, 1, 1))
    told: list[str] = []
    assert releases([ended, spec], Arch.AMD64, TERMS, note=told.append) == ((spec,),)
    assert told == ["left out: debian-11-amd64 is past its end of life: it ended on 2020-01-01"]
    with pytest.raises(UsageError, match="past its end of life"):
        releases([ended], Arch.AMD64, TERMS)


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


def test_a_bug_in_one_does_not_stop_the_others(spec: ImageSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_STOPPED", threading.Event())
    told: list[str] = []

    def work(release: Release) -> str:
        if release[0].id.release == "1":
            raise ZeroDivisionError("the cause")
        if release[0].id.release == "2":
            raise OSError(errno.ENOSPC, "No space left on device")
        return release[0].id.release

    with pytest.raises(ManyErrors) as caught:
        each(work, told.append, several(spec), jobs=1)
    assert told == ["3"]
    assert {name: error.exit_code for name, error in caught.value.failures.items()} == {"debian-1": 3, "debian-2": 7}
    assert isinstance(caught.value.bugs["debian-1"].__cause__, ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        each(work, told.append, several(spec)[:1], jobs=1)


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
