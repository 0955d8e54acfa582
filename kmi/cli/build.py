"""``kmi build``: from a manifest to an OCI layout on disk. Nothing leaves this machine."""

from __future__ import annotations

import argparse
import platform
from datetime import UTC, datetime
from typing import Any

from kmi.cli.context import Context
from kmi.errors import HostError
from kmi.host import doctor
from kmi.host.http import Http
from kmi.host.ui import duration
from kmi.model.platform import Arch
from kmi.model.spec import SOURCES


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
    parser.add_argument("--source", choices=SOURCES, default=SOURCES[0],
                        help="the publisher's cloud image, or a bootstrap from its package archive")  # fmt: skip
    parser.add_argument("--base", metavar="REF|LAYOUT", help="base image (default: UBI-micro)")
    parser.add_argument("--as-of", metavar="TEXT", help="date of the package archives (default: the ISO week)")
    parser.add_argument("--refresh", action="store_true", help="look at the package archives again now")
    parser.add_argument(
        "-j", "--jobs", type=positive, default=1, metavar="N", help="releases side by side (default: 1)"
    )


def positive(text: str) -> int:
    """A whole number of at least 1 (ValueError is argparse's sign for a wrong value)."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


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
    settings = context.settings
    chosen = releases(catalogue.select(catalogue.load(settings.distros), args.selector, args.arch), host())
    doctor.require({"build", args.source}, settings.cache)

    def work(release: Release) -> tuple[Site, Built]:
        site = at(settings, context.store, Http(mirrors=settings.mirrors), context.ui, release)
        with site.receipts(tools()) as result:
            built = build(release, source=args.source, as_of=as_of(args, began), site=site)
            result["index"] = built.index.digest
        return site, built

    def done(made: tuple[Site, Built]) -> None:
        site, built = made
        context.ui.line(f"OCI layout: {site.folder / 'oci'}   receipt: {site.receipt}")
        context.say(str(built.index.digest))

    each(work, done, chosen, args.jobs)
    context.ui.line(f"done in {duration((datetime.now(UTC) - began).total_seconds())}")
    return 0


def host() -> Arch:
    """This machine's architecture. HostError if kmi does not know it."""
    try:
        return Arch.of_machine(platform.machine())
    except ValueError as error:
        raise HostError("kmi does not run on this machine", expected=", ".join(Arch), got=platform.machine()) from error
