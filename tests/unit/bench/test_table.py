"""The table: medians, sums, ratios, and what they are held to."""

from __future__ import annotations

import pytest

from bench.report import Result, Setting, page
from bench.table import KMI, TO_REGISTRY, USUAL, Row, Stage, grid, markdown, rows

USUAL_TIMES = {
    Stage.CUSTOMISE: [200.0],
    Stage.FINISH: [80.0, 90.0, 500.0],
    Stage.CONTAINERISE: [5.0, 6.0, 4.0],
    Stage.PUSH: [10.0, 12.0, 11.0],
    Stage.SIGN: [1.0, 1.0, 1.0],
}
KMI_TIMES = {
    Stage.CUSTOMISE: [60.0],
    Stage.FINISH: [5.0, 4.0, 6.0],
    Stage.CONTAINERISE: [0.5, 0.7, 0.6],
    Stage.PUSH: [2.0, 1.0, 3.0],
    Stage.SIGN: [4.0, 4.0, 4.0],
}


def named(table: tuple[Row, ...], name: str) -> Row:
    (found,) = (row for row in table if row.name == name)
    return found


def test_a_stage_counts_with_the_median_of_its_rounds() -> None:
    row = named(rows(USUAL_TIMES, KMI_TIMES), "finish")
    assert (row.usual, row.kmi, row.rounds) == (90.0, 5.0, 3)
    assert row.ratio == 18.0


def test_the_sums_are_those_of_their_stages() -> None:
    table = rows(USUAL_TIMES, KMI_TIMES)
    assert [row.name for row in table[:5]] == [stage.value for stage in Stage]
    pushed, overall = table[5:]
    assert (pushed.usual, pushed.kmi) == (90 + 5 + 11, pytest.approx(5 + 0.6 + 2))
    assert (overall.usual, overall.kmi) == (200 + 90 + 5 + 11 + 1, pytest.approx(60 + 5 + 0.6 + 2 + 4))
    assert TO_REGISTRY == (Stage.FINISH, Stage.CONTAINERISE, Stage.PUSH)


@pytest.mark.parametrize(("usual", "met"), [(12.9, False), (13.0, True)])
def test_a_missed_ratio_is_called_missed(usual: float, met: bool) -> None:
    row = Row(name="overall", usual=usual, kmi=10.0, target=1.3)
    assert row.met is met
    assert ("1.3: met" if met else "1.3: missed") in markdown([row])


def test_a_stage_without_target_is_never_missed() -> None:
    assert Row(name="sign", usual=1.0, kmi=4.0, rounds=3).met


def test_the_grid_is_aligned_and_is_markdown() -> None:
    assert grid([("stage", "a"), ("x", "12.3 s")]).splitlines() == [
        "| stage |      a |",
        "|-------|-------:|",
        "| x     | 12.3 s |",
    ]


def test_the_page_tells_table_sizes_machine_and_versions() -> None:
    result = Result(
        times={USUAL: USUAL_TIMES, KMI: KMI_TIMES},
        finished={USUAL: 400_000_000, KMI: 282_000_000},
        pushed={USUAL: 401_000_000, KMI: 283_000_000},
    )
    setting = Setting(
        day="2026-11-20",
        machine="2 cores, 24 GiB",
        versions={"cosign": "3.0.6"},
        packages=("git", "vim"),
        disk=238_600_000,
        virtual_size=20 * 1024**3,
    )
    text = page(rows(USUAL_TIMES, KMI_TIMES), result, setting)
    for part in ("| overall ", "400.0 MB", "283.0 MB", "2 cores, 24 GiB", "- cosign 3.0.6", "git, vim", "20 GiB",
                 "80.00 · 90.00 · 500.00", "238.6 MB"):  # fmt: skip
        assert part in text
    assert "{" not in text
