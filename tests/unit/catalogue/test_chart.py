"""The rows of the chart: one for each release, with every way to its disk."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

from kmi.catalogue import load
from kmi.catalogue.chart import Row, rows, ways
from kmi.model.platform import Arch
from kmi.model.spec import Tier

SPECS = load(Path(__file__).parents[3] / "distros").specs


def row(distro: str, release: str) -> Row:
    return next(row for row in rows(SPECS) if (row.first.id.distro, row.first.id.release) == (distro, release))


def test_every_image_is_in_one_row() -> None:
    found = rows(SPECS)
    assert sorted(str(image.id) for row in found for image in row.images) == sorted(str(spec.id) for spec in SPECS)
    assert [row.first.id.distro for row in found] == sorted(row.first.id.distro for row in found)
    assert len({(row.first.id.distro, row.first.id.release) for row in found}) == len(found)


def test_the_ways_are_those_of_all_architectures() -> None:
    debian = row("debian", "13")
    assert debian.ways == (("download", "tls-only"), ("bootstrap", "apt"))
    assert debian.architectures == {Arch.AMD64, Arch.ARM64, Arch.PPC64LE}
    assert next(ways(image) for image in debian.images if image.id.arch is Arch.PPC64LE) == (("download", "tls-only"),)
    assert row("rhel", "10").ways == (("byo", "user"),)
    assert row("openbsd", "7.9").ways == () and row("openbsd", "7.9").planned


def test_the_last_day_of_a_release_still_counts() -> None:
    first = row("debian", "12").first
    ends = Row(images=(replace(first, end_of_life=date(2026, 11, 20), tier=Tier.STABLE),), ways=())
    assert not ends.past(date(2026, 11, 20)) and ends.past(date(2026, 11, 21))
    assert not Row(images=(replace(first, end_of_life=None),), ways=()).past(date(2999, 1, 1))
