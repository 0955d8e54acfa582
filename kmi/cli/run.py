"""``kmi run``: build, push by digest, boot what was pushed, sign, verify, and tag last."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from typing import Any

from kmi.cli import publishing
from kmi.cli.build import add_options, as_of, checked_base, checked_disk, chosen, host
from kmi.cli.context import Context
from kmi.cli.publishing import Done
from kmi.host import doctor
from kmi.host.http import Http
from kmi.host.ui import duration
from kmi.settings import LOCAL


def add(verbs: Any, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        "run",
        parents=[shared],
        help="build, publish, boot, sign, verify and tag",
        description="Build images, push them by digest, boot what was pushed, sign, verify, and tag last. Prints the "
        "reference of each by digest. The same command again does only what is missing.",
    )
    add_options(parser)
    publishing.add_options(parser)
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    from kmi.pipeline.build import build, tools
    from kmi.pipeline.publish import publish
    from kmi.pipeline.releases import Release, each
    from kmi.pipeline.site import at

    began, started = datetime.now(UTC), time.monotonic()
    settings = context.settings
    releases = chosen(args, context, restricted=args.redistribute or settings.registry == LOCAL)
    doctor.require({"build", args.source, "boot", *publishing.roles(settings)}, settings.cache)
    for release in releases:  # what would otherwise be found out after minutes of building
        publishing.check_repository(settings, release[0].id.distro)
    checked_disk(args, releases)
    checked_base(settings)
    signer = publishing.signer(args, settings)

    def work(release: Release) -> Done:
        site = at(settings, context.store, Http.of(settings), context.ui, release,
                  unlocked=args.unlocked, disk=args.disk)  # fmt: skip
        publishing.begin(site)
        with site.receipts(tools()) as result:
            built = build(release, source=args.source, as_of=as_of(args, began), site=site)
            promoted = publish(release, built, signer=signer, host=host(), site=site)
            result |= {"reference": promoted.published.reference, "tags": promoted.tags}
        return Done(site=site, release=release, built=built, promoted=promoted)

    def done(made: Done) -> None:
        publishing.finish(made, signer, context)

    with publishing.registry(context):
        each(work, done, releases, args.jobs)
    context.ui.line(f"done in {duration(time.monotonic() - started)}")
    return 0
