"""``kmi build``: from a manifest to an OCI layout on disk. Nothing leaves this machine."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from kmi.cli.context import Context
from kmi.host import doctor
from kmi.host.http import Http
from kmi.host.ui import duration

SOURCES = ("cloud-image", "bootstrap")


def add(verbs: Any, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        "build", parents=[shared], help="build images into OCI layouts", description=__doc__
    )
    add_options(parser)
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that ``build`` and ``run`` share."""
    parser.add_argument("selector", nargs="+", metavar="DISTRO[:RELEASE]", help="what to build; * matches any")
    parser.add_argument("--arch", help="an architecture, or all (default: this machine's)")
    parser.add_argument("--source", choices=SOURCES, default="cloud-image",
                        help="the publisher's cloud image, or a bootstrap from its package archive")  # fmt: skip
    parser.add_argument("--base", metavar="REF|LAYOUT", help="base image (default: UBI-micro)")
    parser.add_argument("--as-of", metavar="TEXT", help="date of the package archives (default: the ISO week)")
    parser.add_argument("--refresh", action="store_true", help="look at the package archives again now")
    parser.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="releases side by side (default: 1)")


def as_of(args: argparse.Namespace, now: datetime) -> str:
    """The label of the archives' date: stages with the same one are reused."""
    if args.refresh:
        return now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(args.as_of or now.strftime("%G-W%V"))


def run(args: argparse.Namespace, context: Context) -> int:
    from kmi import catalogue
    from kmi.pipeline.build import Built, build, tools
    from kmi.pipeline.releases import Release, each, releases
    from kmi.pipeline.site import Site, at

    began = datetime.now(UTC)
    chosen = releases(catalogue.select(catalogue.load(context.settings.distros), args.selector, args.arch))
    roles = {"build", args.source}
    doctor.require(roles, context.settings.cache)

    def work(release: Release) -> tuple[Site, Built]:
        site = at(context.settings, context.store, Http(mirrors=context.settings.mirrors), context.ui, release)
        built = build(release, source=args.source, as_of=as_of(args, began), site=site)
        site.write_receipt({"index": built.index.digest}, tools())
        return site, built

    for site, built in each(work, chosen, args.jobs):
        context.ui.line(f"OCI layout: {site.folder / 'oci'}   receipt: {site.receipt}")
        context.say(str(built.index.digest))
    context.ui.line(f"done in {duration((datetime.now(UTC) - began).total_seconds())}")
    return 0
