"""What each tier asks for, in criteria: what is left to do on the way to the next one. Pure."""

from __future__ import annotations

from kmi.model.spec import Tier
from kmi.policy.criteria import CRITERIA, Criterion
from kmi.policy.tiers import GATES


def following(tier: Tier) -> Tier | None:
    """The tier above, None above the highest."""
    tiers = list(Tier)
    return next(iter(tiers[tiers.index(tier) + 1 :]), None)


def asked(tier: Tier) -> tuple[Criterion, ...]:
    """The criteria that a tier asks for, in the table's order: all of them for stable, below it those whose boot checks
    it blocks on."""
    if tier is Tier.STABLE:
        return CRITERIA
    blocking = GATES[tier].blocking
    return tuple(criterion for criterion in CRITERIA if criterion.checks and blocking.issuperset(criterion.checks))
