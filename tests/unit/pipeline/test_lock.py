"""What has nothing to lock."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

from kmi.catalogue import load_files
from kmi.model.spec import Tier
from kmi.pipeline.lock import left_out


def test_what_has_nothing_to_lock_is_left_out_by_name() -> None:
    (spec, *_) = load_files([Path(__file__).parents[3] / "distros" / "debian.yaml"]).specs
    spec = replace(spec, end_of_life=date(2026, 7, 1), tier=Tier.PREVIEW)
    chosen, why = left_out([spec], date(2026, 7, 1))
    assert (list(chosen.values()), why) == ([[spec]], [])
    named = {
        "is only planned: no image": replace(spec, tier=Tier.PLANNED, reason="no image"),
        "is past its end of life: it ended on 2026-06-30": replace(spec, end_of_life=date(2026, 6, 30)),
        "has no image to download": replace(spec, cloud_image=None),
    }
    for reason, one in named.items():
        assert left_out([one], date(2026, 7, 1)) == ({}, [f"{one.id} {reason}"])
