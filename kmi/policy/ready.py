"""Whether a release is ready for the next tier: kmi proposes, a person changes one line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kmi.model.spec import ImageId, Tier
from kmi.model.stages import TestReport
from kmi.policy.criteria import Case, Standing, judge
from kmi.policy.gate import gate
from kmi.policy.steps import asked, following

RUNS = 3
"""Green runs in a row that a graduation takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """How far one image is from ``tier``: the runs in a row, up to the newest, that this tier's gate lets pass, and the
    criteria that are neither met nor waived."""

    image: ImageId
    tier: Tier
    green: int
    wanted: int
    left: tuple[str, ...]

    @property
    def ready(self) -> bool:
        return self.green >= self.wanted and not self.left


def readiness(case: Case, reports: Sequence[TestReport], wanted: int = RUNS) -> Readiness | None:
    """None where there is no next tier that tests lead to: above stable there is none, and a planned image has to be
    described first. ``reports`` are of the image's runs, the oldest first."""
    spec = case.spec
    tier = following(spec.tier)
    if tier is None or spec.tier is Tier.PLANNED:
        return None
    green = 0
    for report in reversed(reports):
        if not gate(tier, (report,), waivers=spec.waivers, today=case.today).allowed:
            break
        green += 1
    standings = {finding.criterion: finding.standing for finding in judge(case)}
    wanted_criteria = asked(tier)
    left = [one.id for one in wanted_criteria if standings[one.id] not in (Standing.MET, Standing.WAIVED)]
    return Readiness(image=spec.id, tier=tier, green=green, wanted=wanted, left=tuple(left))
