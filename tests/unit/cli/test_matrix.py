from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from kmi import catalogue
from kmi.cli.matrix import RUNNERS, matrix
from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec, Tier
from kmi.pipeline.releases import Terms

DISTROS = Path(__file__).parents[3] / "distros"
TERMS = Terms(today=date(2026, 11, 20), restricted=False)


@pytest.fixture
def spec() -> ImageSpec:
    (found,) = catalogue.select(catalogue.load(DISTROS), ["debian:12"], "amd64")
    return replace(found, end_of_life=None, tier=Tier.PREVIEW)


def on(spec: ImageSpec, arch: Arch) -> ImageSpec:
    return replace(spec, id=replace(spec.id, arch=arch))


def test_a_row_for_each_image_on_a_runner_of_its_kind(spec: ImageSpec) -> None:
    told: list[str] = []
    made = matrix([on(spec, Arch.ARM64), spec], TERMS, told.append)
    row = {"image": "debian:12", "tier": "preview", "name": "debian-12"}
    assert made == {
        "include": [
            {**row, "arch": "amd64", "runner": "ubuntu-24.04", "id": "debian-12-amd64"},
            {**row, "arch": "arm64", "runner": "ubuntu-24.04-arm", "id": "debian-12-arm64"},
        ]
    }
    assert told == []


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"tier": Tier.PLANNED}, "only planned"),
        ({"end_of_life": date(2026, 11, 19)}, "end of life: it ended on 2026-11-19"),
        ({"redistribution": "https://example.org/policy"}, "https://example.org/policy"),
        ({"cloud_image": None}, "no image to download"),
    ],
)
def test_what_is_not_published_is_left_out_with_its_reason(
    spec: ImageSpec, change: dict[str, object], reason: str
) -> None:
    told: list[str] = []
    assert matrix([replace(spec, **change)], TERMS, told.append) == {"include": []}  # type: ignore[arg-type]
    assert len(told) == 1 and reason in told[0]


def test_restricted_images_are_in_it_if_asked_for(spec: ImageSpec) -> None:
    restricted = replace(spec, redistribution="https://example.org/policy")
    assert len(matrix([restricted], replace(TERMS, restricted=True), lambda _: None)["include"]) == 1


def test_the_catalogues_own_matrix_fits_githubs_limit_and_is_sorted() -> None:
    specs = catalogue.load(DISTROS).specs
    told: list[str] = []
    rows = matrix(specs, TERMS, told.append)["include"]
    assert 0 < len(rows) <= 256
    assert len(rows) + len(told) == len(specs)
    assert {row["arch"] for row in rows} <= {arch.value for arch in RUNNERS}
    assert rows == sorted(rows, key=lambda row: (row["image"].partition(":"), row["arch"]))
