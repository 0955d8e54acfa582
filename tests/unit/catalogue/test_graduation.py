"""The change that kmi proposes is the one line that a person has to agree to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from kmi.catalogue import load, select
from kmi.catalogue.graduation import graduation
from kmi.errors import UsageError
from kmi.model.spec import Tier

DISTROS = Path(__file__).parents[3] / "distros"


def test_the_diff_applies_and_changes_one_tier_only(tmp_path: Path) -> None:
    shutil.copytree(DISTROS, tmp_path / "distros")
    before = {spec.id: spec.tier for spec in load(tmp_path / "distros").specs}
    diff = graduation(tmp_path / "distros" / "debian.yaml", "13", Tier.PROPOSED)
    assert [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")] == [
        "-    tier: preview", "+    tier: proposed",
    ]  # fmt: skip
    subprocess.run(["git", "apply", "-p1"], cwd=tmp_path, input=diff, text=True, check=True, capture_output=True)
    after = {spec.id: spec.tier for spec in load(tmp_path / "distros").specs}
    assert {one for one in after if after[one] is not before[one]} == {
        spec.id for spec in select(load(DISTROS), ["debian:13"], "all")
    }


def test_a_release_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tier"):
        graduation(DISTROS / "debian.yaml", "99", Tier.STABLE)
