"""The one table of tiers: what is built, what is published, which checks forbid tags and which only advise.

Digests, signatures and the containerDisk contract are in no tier's gift: they always block, where they are checked.
"""

from __future__ import annotations

from dataclasses import dataclass

from kmi.model.checks import CLOUD_INIT, CRITERIA, GUEST_AGENT, LOGIN_PROMPT, PROVISIONED, SSH
from kmi.model.spec import Tier

EVERY = frozenset(CRITERIA)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a tier allows and demands. ``blocking`` and ``advisory`` are names of ``kmi.model.checks``, disjoint."""

    build: bool
    publish: bool
    blocking: frozenset[str]
    advisory: frozenset[str]


_PROPOSED = frozenset({LOGIN_PROMPT, CLOUD_INIT, PROVISIONED, GUEST_AGENT, SSH})

GATES: dict[Tier, Gate] = {
    Tier.PLANNED: Gate(build=False, publish=False, blocking=frozenset(), advisory=frozenset()),
    Tier.PREVIEW: Gate(build=True, publish=True, blocking=frozenset(), advisory=EVERY),
    Tier.PROPOSED: Gate(build=True, publish=True, blocking=_PROPOSED, advisory=EVERY - _PROPOSED),
    Tier.STABLE: Gate(build=True, publish=True, blocking=EVERY, advisory=frozenset()),
}
