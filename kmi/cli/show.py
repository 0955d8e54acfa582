"""``kmi show``: everything about one distro, and how far it is from the next tier."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kmi.catalogue import load, select
from kmi.catalogue.select import ALL
from kmi.model.codec import encode
from kmi.model.spec import ImageSpec
from kmi.pipeline.evidence import case
from kmi.policy.criteria import CRITERIA, Finding, Standing, judge

if TYPE_CHECKING:
    from kmi.cli.context import Context

_TEXTS = {criterion.id: criterion.text for criterion in CRITERIA}
_MARKS = {Standing.MET: "✓", Standing.UNMET: "✗", Standing.WAIVED: "~", Standing.UNKNOWN: "?"}


def add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "show",
        parents=[shared],
        help="show one distro, or how it stands against the criteria of the stable tier",
        description="Show what the catalogue says of a distro. With --criteria: every criterion of the stable tier, "
        "met or not, by what the last run here left.",
    )
    parser.add_argument("selectors", nargs="+", metavar="DISTRO[:RELEASE]", help="which; * matches any")
    parser.add_argument("--arch", default=ALL, help="only this architecture (default: all)")
    parser.add_argument("--criteria", action="store_true", help="each criterion, with its evidence")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    specs = select(load(context.settings.distros), args.selectors, args.arch)
    if args.criteria:
        today = datetime.now(UTC).date()
        judged = [(spec, judge(case(spec, context.settings, today))) for spec in specs]
        if args.json:
            context.say_json([{"id": str(spec.id), "tier": spec.tier.value, "criteria": encode(list(found))}
                              for spec, found in judged])  # fmt: skip
        else:
            context.say("\n\n".join(criteria(spec, found) for spec, found in judged))
        return 0
    if args.json:
        context.say_json([encode(spec) for spec in specs])
    else:
        context.say("\n\n".join(facts(spec) for spec in specs))
    return 0


def criteria(spec: ImageSpec, found: Iterable[Finding]) -> str:
    """A line for each criterion, and how many stand."""
    rows = list(found)
    met = sum(finding.standing in (Standing.MET, Standing.WAIVED) for finding in rows)
    lines = [f"{spec.id}: {spec.tier}, {met} of {len(rows)} criteria of the stable tier"]
    for finding in rows:
        lines.append(f"  {_MARKS[finding.standing]} {finding.criterion:<17} {_TEXTS[finding.criterion]}")
        lines.append(f"      {finding.evidence}")
    return "\n".join(lines)


def facts(spec: ImageSpec) -> str:
    """What the manifest says of one image, a line each; what does not apply is left out."""
    image = spec.cloud_image
    rows = {
        "tier": spec.tier + (f" ({spec.reason})" if spec.reason else ""),
        "download": image.url if image else "",
        "checksums": f"{image.checksums} ({image.algorithm})" if image else "",
        "trust": _trust(spec),
        "format": f"{image.format}{_packed(spec)}" if image else "",
        "bootstrap": f"{spec.archive.suite}, keyring {spec.archive.keyring}" if spec.archive else "",
        "own disk": spec.own_disk.where if spec.own_disk else "",
        "customised": f"no: {spec.untouched}" if spec.recipe is None else "yes",
        "packages": " ".join(spec.recipe.packages) if spec.recipe else "",
        "agent": spec.agent,
        "user": spec.user,
        "init": spec.init,
        "firmware": " ".join(spec.firmware),
        "machine": f"{spec.instancetype}, preference {spec.preference}",
        "licence": f"{spec.licence.name} ({spec.licence.url})",
        "redistribution": f"restricted: {spec.redistribution}" if spec.redistribution else "",
        "end of life": str(spec.end_of_life or ""),
        "waivers": "; ".join(f"{w.criterion} until {w.until}: {w.reason}" for w in spec.waivers),
        "documentation": spec.documentation,
        "manifest": spec.where,
    }
    return "\n".join([f"{spec.id}: {spec.title}", *(f"  {name:<15}{text}" for name, text in rows.items() if text)])


def _trust(spec: ImageSpec) -> str:
    if spec.cloud_image is None:
        return ""
    trust = spec.cloud_image.trust
    pinned = " or ".join(trust.fingerprints) or trust.key or ""
    return f"{trust.kind} {pinned}".rstrip() + (f", over the {trust.over}" if pinned else "")


def _packed(spec: ImageSpec) -> str:
    packing = spec.cloud_image.packing if spec.cloud_image else None
    if packing is None or packing.plain:
        return ""
    return f" in {' '.join(filter(None, (packing.archive, packing.compression.replace('none', ''))))}"
