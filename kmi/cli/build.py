"""``kmi build``: from a manifest to an OCI layout on disk. Nothing leaves this machine."""

from __future__ import annotations

import argparse
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmi.cli.arguments import count, stamp
from kmi.cli.context import Context
from kmi.errors import HostError, UsageError
from kmi.host import doctor
from kmi.host.http import Http
from kmi.host.ui import duration
from kmi.model.platform import Arch
from kmi.model.spec import OWN_DISK, SOURCES
from kmi.oci import reference as references
from kmi.settings import Settings

if TYPE_CHECKING:
    from kmi.pipeline.releases import Release


def add(verbs: Any, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        "build",
        parents=[shared],
        help="build images into OCI layouts",
        description="Build images, from a manifest to an OCI layout on disk. Nothing leaves this machine. Prints the "
        "digest of each. What is in the cache is reused.",
    )
    add_options(parser)
    parser.add_argument("--test", action="store_true",
                        help="boot each image too; the receipt then has the report for `publish --report`")  # fmt: skip
    return parser


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that ``build`` and ``run`` share."""
    parser.add_argument("selector", nargs="+", metavar="DISTRO[:RELEASE]", help="what to build; * matches any")
    parser.add_argument("--arch", help="an architecture, or all (default: this machine's)")
    parser.add_argument("--source", choices=SOURCES, default=SOURCES[0],
                        help="the publisher's cloud image, a bootstrap from its archive, or your own disk")  # fmt: skip
    parser.add_argument("--disk", type=Path, metavar="FILE", help="your own disk, for --source byo")
    parser.add_argument("--unlocked", action="store_true", help="ask the publisher what is current, lock or not")
    parser.add_argument("--base", metavar="REF|LAYOUT", help="base image (default: UBI-micro)")
    parser.add_argument(
        "--as-of", type=stamp, metavar="DATE", help="date of the package archives (default: the ISO week)"
    )
    parser.add_argument("--refresh", action="store_true", help="look at the package archives again now")
    ended(parser)
    parser.add_argument("-j", "--jobs", type=count, default=1, metavar="N", help="releases side by side (default: 1)")


def ended(parser: argparse.ArgumentParser) -> None:
    """The option that takes what no publisher maintains any more."""
    parser.add_argument("--past-end-of-life", action="store_true", help="take also releases past their end of life")


def chosen(args: argparse.Namespace, context: Context, *, restricted: bool) -> tuple[Release, ...]:
    """The releases that the selectors mean. What is not built under these terms is left out where a wildcard names it,
    and refused where it is named itself (``kmi.pipeline.releases``)."""
    from kmi import catalogue
    from kmi.pipeline.releases import Terms, releases

    known = catalogue.load(context.settings.distros)
    specs = catalogue.select(known, args.selector, args.arch)
    words = [word for word in args.selector if "*" not in word]
    return releases(
        specs,
        host(),
        Terms(today=datetime.now(UTC).date(), ended=args.past_end_of_life, restricted=restricted),
        named=frozenset(catalogue.select(known, words, args.arch)),
        note=context.ui.line,
    )


def checked_disk(args: argparse.Namespace, releases: tuple[Release, ...]) -> None:
    """UsageError, before anything is begun, for a disk that is missing, that nothing takes, or that would be several
    images."""
    from kmi.pipeline.source import own_disk

    if args.source == OWN_DISK:
        for spec in (spec for release in releases for spec in release):
            own_disk(spec, args.disk)
    if args.disk is None:
        return
    if args.source != OWN_DISK:
        expected = f"--source {OWN_DISK} with it"
        raise UsageError("--disk names your own disk", expected=expected, got=f"--source {args.source}")
    if sum(map(len, releases)) != 1:
        got = ", ".join(str(spec.id) for release in releases for spec in release)
        raise UsageError("one disk is one image", expected="one release for one architecture", got=got)


def checked_base(settings: Settings) -> None:
    """UsageError, before anything is fetched, if the base is neither an image reference nor an OCI layout."""
    if references.layout_path(settings.base) is None:
        references.parse(settings.base)


def as_of(args: argparse.Namespace, now: datetime) -> str:
    """The label of the archives' date: stages with the same one are reused."""
    if args.refresh:
        return now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return str(args.as_of or now.strftime("%G-W%V"))


def run(args: argparse.Namespace, context: Context) -> int:
    from kmi.pipeline import boot
    from kmi.pipeline.build import Built, build, tools
    from kmi.pipeline.publish import allow
    from kmi.pipeline.releases import each
    from kmi.pipeline.site import Site, at
    from kmi.pipeline.trial import Rules

    began, started = datetime.now(UTC), time.monotonic()
    settings = context.settings
    releases = chosen(args, context, restricted=True)
    doctor.require({"build", args.source, *(("boot",) if args.test else ())}, settings.cache)
    checked_disk(args, releases)
    checked_base(settings)

    def work(release: Release) -> tuple[Site, Built]:
        site = at(settings, context.store, Http.of(settings), context.ui, release,
                  unlocked=args.unlocked, disk=args.disk)  # fmt: skip
        with site.receipts(tools()) as result:
            built = build(release, source=args.source, as_of=as_of(args, began), site=site)
            result["index"] = built.index.digest
            if args.test:
                rules, given = Rules.of(release[0]), lambda _: built.index.layout
                seen = [
                    boot.tested(one, built.metadata[one.digest], given, rules=rules, host=host(), site=site)
                    for one in built.index.images
                ]
                allow(release[0], tuple(seen), site)
        return site, built

    def done(made: tuple[Site, Built]) -> None:
        site, built = made
        context.ui.line(f"OCI layout: {site.folder / 'oci'}   receipt: {site.receipt}")
        context.say(str(built.index.digest))

    each(work, done, releases, args.jobs)
    context.ui.line(f"done in {duration(time.monotonic() - started)}")
    return 0


def host() -> Arch:
    """This machine's architecture. HostError if kmi does not know it."""
    try:
        return Arch.of_machine(platform.machine())
    except ValueError as error:
        raise HostError("kmi does not run on this machine", expected=", ".join(Arch), got=platform.machine()) from error
