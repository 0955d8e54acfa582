"""``kmi show``: the facts of a release, once where its architectures agree, and the way to the next tier."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from kmi import cli
from kmi.catalogue import load, select
from kmi.catalogue.chart import rows
from kmi.cli.facts import facts
from kmi.cli.show import criteria
from kmi.model.spec import ImageSpec, Tier
from kmi.policy.criteria import CRITERIA, Finding, Standing

DISTROS = Path(__file__).parents[3] / "distros"
TODAY = date(2026, 11, 20)


pytestmark = pytest.mark.usefixtures("elsewhere")


def shown(selector: str, width: int | None = None) -> dict[str, str]:
    """The facts by name; what goes on in further lines is joined."""
    (row,) = rows(select(load(DISTROS), [selector], "all"))
    head, *lines = facts(row, TODAY, width).splitlines()
    found, name = {"": head}, ""
    for line in lines:
        name = line[:17].strip() or name
        found[name] = f"{found.get(name, '')} {line[17:].strip()}".strip()
    return found


def test_what_is_common_is_told_once() -> None:
    debian = shown("debian:12")
    assert debian[""] == "debian 12: Debian 12 (bookworm), the default release"
    assert debian["architectures"] == "amd64 arm64"
    assert (debian["tier"], debian["trust"], debian["user"]) == ("proposed", "tls-only", "debian")
    assert debian["firmware"] == "amd64: bios uefi arm64: uefi"
    assert "amd64: https://cloud.debian.org/" in debian["download"]
    assert "arm64: https://cloud.debian.org/" in debian["download"]
    assert debian["bootstrap"] == "bookworm, keyring /usr/share/keyrings/debian-archive-keyring.gpg"


def test_an_architecture_without_a_fact_says_so() -> None:
    assert shown("debian:13")["bootstrap"].endswith("debian-archive-keyring.gpg ppc64le: none")


def test_planned_ones_say_why_and_past_ones_what_follows() -> None:
    assert shown("openbsd")["tier"].startswith("planned (the project publishes installers only")
    assert shown("opensuse-leap:15.6")["end of life"] == (
        "2026-04-30, past: not built any more; use opensuse-leap:16.0"
    )
    assert shown("debian:12")["end of life"] == "2028-06-30"


def test_a_disk_to_bring_and_a_disk_as_it_is() -> None:
    rhcos = shown("rhcos")
    assert rhcos["own disk"].startswith("the qemu or openstack disk") and rhcos["own disk"].endswith("(qcow2)")
    assert rhcos["customised"].startswith("no: ") and "packages" not in rhcos and "download" not in rhcos
    assert rhcos["redistribution"].startswith("restricted: https://")


@pytest.mark.parametrize("width", [60, 80, 100])
def test_no_line_is_longer_but_for_a_word_that_is(width: int) -> None:
    for row in rows(load(DISTROS).specs):
        for line in facts(row, TODAY, width).splitlines()[1:]:
            assert len(line) <= width or " " not in line[17:].strip()


def test_json_tells_every_image(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "debian:*", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [f"{image['id']['release']}-{image['id']['arch']}" for image in told] == [
        "13-amd64", "13-arm64", "13-ppc64le", "12-amd64", "12-arm64",
    ]  # fmt: skip


def judged(tier: Tier, **standings: Standing) -> list[str]:
    spec: ImageSpec = replace(select(load(DISTROS), ["debian:12"], "amd64")[0], tier=tier)
    found = [
        Finding(criterion=c.id, standing=standings.get(c.id.replace("-", "_"), Standing.MET), evidence=f"why {c.id}")
        for c in CRITERIA
    ]
    return criteria(spec, found).splitlines()


def test_the_way_to_the_next_tier() -> None:
    head, proposed, stable, *rest = judged(Tier.PREVIEW, cloud_init=Standing.UNKNOWN, trust=Standing.WAIVED)
    assert head == "debian-12-amd64: preview"
    assert proposed == "  for proposed: cloud-init still to be met"
    assert stable == "  for stable: of 23 criteria 21 met, 1 waived, 1 not seen yet"
    assert len(rest) == 2 * len(CRITERIA)
    assert rest[rest.index("      why cloud-init") - 1].startswith("  ? cloud-init ")
    assert rest[rest.index("      why trust") - 1].startswith("  ~ trust ")
    assert judged(Tier.PREVIEW)[1] == "  for proposed: all met"
    assert judged(Tier.PREVIEW, cloud_init=Standing.WAIVED)[1] == "  for proposed: all met"
    assert judged(Tier.PROPOSED, source=Standing.UNMET)[1] == "  for stable: of 23 criteria 22 met, 1 not met"
    assert judged(Tier.PLANNED)[1] == "  for preview: all met"


def test_criteria_of_what_was_never_built(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "--criteria", "debian:12", "--arch", "amd64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "debian-12-amd64: proposed"
    assert "      not built here yet" in lines
    assert cli.main(["show", "--criteria", "debian:12", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [image["id"] for image in told] == ["debian-12-amd64", "debian-12-arm64"]
    assert [finding["criterion"] for finding in told[0]["criteria"]] == [criterion.id for criterion in CRITERIA]
