"""What each tier asks for."""

from __future__ import annotations

from itertools import pairwise

from kmi.model.spec import Tier
from kmi.policy.criteria import CRITERIA, Proof
from kmi.policy.steps import asked, following
from kmi.policy.tiers import GATES


def test_tiers_follow_each_other() -> None:
    assert [following(tier) for tier in Tier] == [Tier.PREVIEW, Tier.PROPOSED, Tier.STABLE, None]


def test_a_higher_tier_asks_for_no_less() -> None:
    for lower, higher in pairwise(Tier):
        assert {criterion.id for criterion in asked(lower)} <= {criterion.id for criterion in asked(higher)}
    assert asked(Tier.PREVIEW) == ()
    assert [criterion.id for criterion in asked(Tier.PROPOSED)] == ["baseline-boot", "cloud-init"]
    assert asked(Tier.STABLE) == CRITERIA


def test_every_blocking_check_stands_for_a_criterion() -> None:
    checks = {check for criterion in CRITERIA for check in criterion.checks}
    assert checks == GATES[Tier.STABLE].blocking
    assert all(bool(criterion.checks) == (criterion.proof is Proof.BOOT) for criterion in CRITERIA)
