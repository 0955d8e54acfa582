"""``kmi list``: every image of the catalogue."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from kmi.catalogue import load, select
from kmi.catalogue.chart import rows, ways
from kmi.catalogue.select import ALL
from kmi.cli.chart import LEGEND, chart, columns
from kmi.model.spec import ImageSpec, Tier

if TYPE_CHECKING:
    from kmi.cli.context import Context


def add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "list",
        parents=[shared],
        help="list the images that can be built",
        description="List the releases of the catalogue by architecture. A star marks the release that is meant where "
        "none is named.",
    )
    parser.add_argument("selectors", nargs="*", metavar="DISTRO[:RELEASE]", help="only these, with * (default: all)")
    parser.add_argument("--arch", default=ALL, help="only this architecture (default: all)")
    tiers = [tier.value for tier in Tier]
    parser.add_argument("--tier", action="append", choices=tiers, help="only this tier (may be given several times)")
    parser.add_argument("--format", choices=("table", "json", "github"), default="table",
                        help="github: a job matrix of what is built and published, on one line")  # fmt: skip
    parser.add_argument("--json", dest="format", action="store_const", const="json", help="print JSON")
    parser.add_argument("--redistribute", action="store_true",
                        help="with --format github: also images whose publisher restricts passing them on")  # fmt: skip
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    chosen = select(load(context.settings.distros), args.selectors or ["*:*"], args.arch)
    specs = tuple(spec for spec in chosen if not args.tier or spec.tier in args.tier)
    today = datetime.now(UTC).date()
    if args.format == "json":
        context.say_json([_json(spec, today) for spec in specs])
    elif args.format == "github":
        from kmi.cli.matrix import matrix
        from kmi.pipeline.releases import Terms

        terms = Terms(today=today, restricted=args.redistribute)
        context.say(json.dumps(matrix(specs, terms, lambda why: context.ui.line(f"left out: {why}"))))
    elif not specs:
        context.ui.line(f"none of these images is {' or '.join(args.tier)}")
    else:
        context.say(chart(rows(specs), today, columns()))
        context.ui.line(LEGEND)
    return 0


def _json(spec: ImageSpec, today: date) -> dict[str, object]:
    return {
        "id": str(spec.id),
        "distro": spec.id.distro,
        "release": spec.id.release,
        "codename": spec.codename,
        "arch": spec.id.arch.value,
        "default": spec.default,
        "tier": spec.tier.value,
        "trust": next((proof for _, proof in ways(spec)), ""),
        "sources": [source for source, _ in ways(spec)],
        "firmware": [firmware.value for firmware in spec.firmware],
        "init": spec.init,
        "user": spec.user,
        "agent": spec.agent,
        "packages": list(spec.recipe.packages) if spec.recipe else [],
        "end_of_life": spec.end_of_life.isoformat() if spec.end_of_life else None,
        "past_end_of_life": spec.end_of_life is not None and spec.end_of_life < today,
        "successor": spec.successor,
        "redistribution": spec.redistribution,
    }
