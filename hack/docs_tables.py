"""The generated tables of README.md, docs/criteria.md and docs/testing.md, as Markdown; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kmi.catalogue.chart import Row
from kmi.model.checks import CHECKS, Round
from kmi.model.platform import Arch
from kmi.policy.criteria import CRITERIA
from kmi.policy.steps import asked
from kmi.policy.tiers import GATES, Tier

RECORDED, OWN, NONE = "recorded", "own", "–"
Proofs = Mapping[str, Mapping[str, object]]
"""``tests/data/proofs.yaml``: by distro, its ``kind`` and the recorded ``documents``, each of an ``image``."""


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """The rows as Markdown. A cell holds no bar and no line break."""
    lines = [head, ["---"] * len(head), *body]
    return "".join("".join(f"| {cell} " if cell else "| " for cell in line) + "|\n" for line in lines)


def recorded(row: Row, proofs: Proofs, *, signed: bool = False) -> list[str]:
    """The architectures whose look-up is proved on a document that their publisher really published (``signed``: with
    its signature)."""
    documents: Any = proofs.get(row.first.id.distro, {}).get("documents", ())
    known = {document["image"] for document in documents if not signed or "key" in document}
    return [image.id.arch.value for image in row.images if f"{image.id.release}-{image.id.arch}" in known]


def proof(row: Row, proofs: Proofs) -> str:
    """recorded, if that holds of an image of the release; own, if of none; – where nothing is looked up."""
    if recorded(row, proofs):
        return RECORDED
    return OWN if row.first.cloud_image else NONE


def chart(found: Sequence[Row], proofs: Proofs) -> str:
    """A line for the releases of a distro that are alike, the default one bold."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for row in found:
        first = row.first
        title = first.title.removesuffix(f" {first.id.release}")
        name = title if row.planned else f"[{title}](docs/images/{first.id.distro}.md)"
        marks = ("✓" if arch in row.architectures and not row.planned else "" for arch in Arch)
        trust = ", ".join(proof for _, proof in row.ways)
        release = f"**{first.id.release}**" if first.default else first.id.release
        key = (name, first.tier, *marks, trust or NONE, proof(row, proofs))
        alike.setdefault(key, []).append(release)
    head = ("distro", "releases", "tier", *(arch.value for arch in Arch), "trust", "look-up proved")
    return table(head, ([name, ", ".join(releases), *rest] for (name, *rest), releases in alike.items()))


def tiers() -> str:
    """What each tier is built and published for, and the boot checks that it blocks on."""

    def names(checks: frozenset[str]) -> str:
        if len(checks) > len(CHECKS) / 2:
            return "all" if checks >= CHECKS.keys() else "all others"
        return ", ".join(name for name in CHECKS if name in checks) or NONE

    yes = {True: "yes", False: "no"}
    head = ("tier", "built", "published", "criteria", "boot checks that block its tags", "boot checks that only advise")
    body = [
        (tier, yes[gate.build], yes[gate.publish], str(len(asked(tier))), names(gate.blocking), names(gate.advisory))
        for tier, gate in GATES.items()
    ]
    return table(head, body)


def criteria() -> str:
    """Every criterion, the tiers that ask for it, and what tells whether it holds."""
    body = []
    for criterion in CRITERIA:
        wanted = [tier.value for tier in Tier if criterion in asked(tier)]
        waived = "yes" if criterion.waivable else "no"
        body.append((f"`{criterion.id}`", criterion.text, ", ".join(wanted), criterion.proof, waived))
    return table(("criterion", "what it says of the image", "asked for by", "told by", "may be waived"), body)


_BOOTS = {Round.SEEDED: "with a seed", Round.UNSEEDED: "without", Round.ACROSS: "compared"}


def checks() -> str:
    """Every boot check, what it stands for, on which boots it is made, and whether a cluster can make it."""
    stands_for = {name: criterion.id for criterion in CRITERIA for name in criterion.checks}
    body = [
        (
            f"`{name}`", check.criterion, f"`{stands_for[name]}`", ", ".join(_BOOTS[one] for one in check.rounds),
            "yes" if check.cluster else "no",
        )
        for name, check in CHECKS.items()
    ]  # fmt: skip
    return table(("check", "what has to be seen", "criterion", "boots", "on a cluster too"), body)
