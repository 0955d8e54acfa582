"""The chart of the catalogue: what stands in it, and that it fits."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from kmi import cli
from kmi.catalogue import load, select
from kmi.catalogue.chart import rows
from kmi.cli.chart import LEGEND, chart

DISTROS = Path(__file__).parents[3] / "distros"
TODAY = date(2026, 11, 20)


pytestmark = pytest.mark.usefixtures("elsewhere")


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[list[str]]:
    assert cli.main(["list", *words]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def drawn(width: int | None, *selectors: str) -> list[str]:
    return chart(rows(select(load(DISTROS), selectors or ["*:*"], "all")), TODAY, width).splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, None])
def test_the_whole_catalogue_fits_and_names_every_release(width: int | None) -> None:
    lines = drawn(width)
    assert width is None or max(map(len, lines)) <= width
    assert len(LEGEND) <= 80
    distro, found = "", []
    for line in lines[1:]:
        words = line.split()
        if len(words) == 1:
            distro = words[0]
        elif not line.startswith(" " * 10):
            found.append(words[:2] if line[0] != " " else [distro, words[0]])
    expected = [
        [row.first.id.distro, row.first.id.release + "*" * row.first.default] for row in rows(load(DISTROS).specs)
    ]
    assert found == expected


def test_each_column_stands_below_its_head() -> None:
    for width in (60, 80, 100, 120):
        head, *body = drawn(width, "debian:13")
        line = next(line for line in body if " 13 " in line)
        ways = " ".join(body)
        assert [head[at:].split()[0] for at, mark in enumerate(line) if mark == "✓"] == [
            "amd64",
            "arm64",
            "ppc64le",
        ]
        assert line.index("tls-only") == head.index("trust") and line.index("download") == head.index("source")
        assert line.index("2030-06-30") == head.index("end of life")
        assert "apt" in ways and "bootstrap" in ways


def test_what_is_not_built_is_marked() -> None:
    (past,) = drawn(None, "opensuse-leap:15.6")[1:]
    assert "·" in past and "✓" not in past and past.endswith("2026-04-30 past")
    (planned,) = drawn(None, "openbsd")[1:]
    assert planned.split() == ["openbsd", "7.9*", "planned", "·", "·"]
    (current,) = drawn(None, "opensuse-leap:16.0")[1:]
    assert "·" not in current and "past" not in current


def test_filters(capsys: pytest.CaptureFixture[str]) -> None:
    assert [words[:2] for words in listed(capsys, "--tier", "proposed")[1:]] == [["debian", "12*"]]
    both = {words[0] for words in listed(capsys, "--tier", "proposed", "--tier", "planned")[1:]}
    assert {"debian", "openbsd", "nixos"} <= both and "fedora" not in both
    assert {words[0] for words in listed(capsys, "--arch", "ppc64le", "deb*:*", "rh*")[1:]} == {
        "debian",
        "rhel",
        "rhcos",
    }


def test_a_tier_that_nothing_has_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "cirros", "--tier", "stable"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "none of these images is stable\n")
    assert cli.main(["list", "cirros", "--tier", "stable", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    with pytest.raises(SystemExit):
        cli.main(["list", "--tier", "gold"])


def test_json_tells_each_image(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "--json"]) == 0
    told = {image["id"]: image for image in json.loads(capsys.readouterr().out)}
    assert set(told) == {str(spec.id) for spec in load(DISTROS).specs}
    debian = told["debian-12-amd64"]
    assert (debian["trust"], debian["sources"], debian["tier"]) == ("tls-only", ["download", "bootstrap"], "proposed")
    assert (debian["end_of_life"], debian["default"]) == ("2028-06-30", True)
    assert (told["rhel-10-amd64"]["trust"], told["rhel-10-amd64"]["sources"]) == ("user", ["byo"])


def test_a_terminal_of_80_columns_gets_no_longer_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["list"]) == 0
    told = capsys.readouterr()
    assert max(map(len, told.out.splitlines())) <= 80
    assert told.err.strip() == LEGEND
