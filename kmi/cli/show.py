"""``kmi show``: everything about one distro, and how far it is from the next tier."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kmi.catalogue import load, select
from kmi.catalogue.chart import rows
from kmi.catalogue.select import ALL
from kmi.cli import ready
from kmi.cli.arguments import count
from kmi.cli.chart import columns
from kmi.cli.facts import facts
from kmi.model.codec import encode
from kmi.model.spec import ImageSpec, Tier
from kmi.pipeline.evidence import case
from kmi.policy.criteria import CRITERIA, Finding, Standing, judge
from kmi.policy.ready import RUNS
from kmi.policy.steps import asked, following

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
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--criteria", action="store_true", help="each criterion, with its evidence")
    what.add_argument("--ready", action="store_true",
                      help="which releases are ready for the next tier, with the change that would say so")  # fmt: skip
    parser.add_argument("--evidence", action="append", type=Path, default=[], metavar="DIR",
                        help="with --ready: a folder of other machines' test results; once for each")  # fmt: skip
    parser.add_argument("--runs", type=count, default=RUNS, metavar="N",
                        help=f"with --ready: green runs in a row that it takes (default: {RUNS})")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    specs = select(load(context.settings.distros), args.selectors, args.arch)
    today = datetime.now(UTC).date()
    if args.ready:
        ready.run(specs, args, context, today)
        return 0
    if args.criteria:
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
        context.say("\n\n".join(facts(row, today, columns()) for row in rows(specs)))
    return 0


def criteria(spec: ImageSpec, found: Iterable[Finding]) -> str:
    """What the next tier asks for, and a line for each criterion of the stable tier with its evidence below it."""
    standings = {finding.criterion: finding for finding in found}
    lines = [f"{spec.id}: {spec.tier}", *_ahead(spec, standings)]
    for finding in standings.values():
        lines.append(f"  {_MARKS[finding.standing]} {finding.criterion:<17} {_TEXTS[finding.criterion]}")
        lines.append(f"      {finding.evidence}")
    return "\n".join(lines)


def _ahead(spec: ImageSpec, standings: Mapping[str, Finding]) -> list[str]:
    """For the next tier by name, as it asks for few, and for stable how many stand how."""
    wanted = following(spec.tier)
    lines = []
    if wanted not in (None, Tier.STABLE):
        left = [c.id for c in asked(wanted) if standings[c.id].standing not in (Standing.MET, Standing.WAIVED)]
        lines.append(f"  for {wanted}: " + (f"{' and '.join(left)} still to be met" if left else "all met"))
    counts = Counter(finding.standing for finding in standings.values())
    told = ", ".join(f"{counts[standing]} {standing}" for standing in Standing if counts[standing])
    return [*lines, f"  for stable: of {len(standings)} criteria {told}"]
