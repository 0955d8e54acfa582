"""``kmi publish``: what ``run`` does after building, for images that lie on disk as OCI layouts."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmi.cli import publishing
from kmi.cli.build import ended, host
from kmi.cli.context import Context
from kmi.cli.publishing import Done
from kmi.host import doctor
from kmi.host.http import Http
from kmi.host.ui import duration
from kmi.settings import LOCAL

if TYPE_CHECKING:
    from kmi.pipeline.releases import Release


def add(verbs: Any, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        "publish",
        parents=[shared],
        help="publish images that lie on disk",
        description="Hash OCI layouts of one release anew, join their architectures in one index, push it by digest, "
        "boot what was pushed, sign, verify, and tag last. Prints the reference by digest. An architecture that is not "
        "this machine's is not booted and counts as not tested; --report takes the reports of machines that did.",
    )
    parser.add_argument("--from", dest="layouts", action="append", type=Path, required=True, metavar="LAYOUT",
                        help="folder of an OCI layout that kmi built; once for each")  # fmt: skip
    parser.add_argument("--report", dest="reports", action="append", type=Path, metavar="FILE",
                        help="boot nothing here; FILE is the results.json of kmi test, or the receipt of a build "
                        "with --test; once for each")  # fmt: skip
    ended(parser)
    publishing.add_options(parser)
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    from kmi import catalogue
    from kmi.pipeline import boot, join
    from kmi.pipeline.publish import publish
    from kmi.pipeline.site import Site

    started, settings = time.monotonic(), context.settings
    known = catalogue.load(settings.distros)
    doctor.require({*publishing.roles(settings), *(() if args.reports else ("boot",))}, settings.cache)
    reports = boot.reports(args.reports) if args.reports else None
    with context.ui.step("layouts", "prove") as step:
        images = join.found(args.layouts, step.detail)
        step.done(", ".join(str(one.image.id) for one in images))
    release = _allowed(join.release(images, known), args, context)
    signer = publishing.signer(args, settings)
    site = Site(
        settings=settings,
        store=context.store,
        http=Http.of(settings),
        ui=context.ui,
        folder=settings.output / release[0].id.name,
    )
    publishing.begin(site)
    with publishing.registry(context), context.store.scratch() as scratch:
        with site.receipts({}) as result:
            for one in images:
                outputs = {"digest": one.image.digest, "size": one.image.size, "metadata": one.metadata}
                site.record(one.image.id, "wrap", step, "", {"layout": one.image.layout}, outputs)
            built = join.joined(images, release, scratch / "oci")
            promoted = publish(release, built, signer=signer, host=host(), site=site, reports=reports)
            result |= {"reference": promoted.published.reference, "tags": promoted.tags}
        publishing.finish(Done(site=site, release=release, built=built, promoted=promoted), signer, context)
    context.ui.line(f"done in {duration(time.monotonic() - started)}")
    return 0


def _allowed(release: Release, args: argparse.Namespace, context: Context) -> Release:
    """The release, unless it may not be published. Raises what forbids it."""
    from kmi.pipeline.releases import Terms, refusal

    restricted = args.redistribute or context.settings.registry == LOCAL
    terms = Terms(today=datetime.now(UTC).date(), ended=args.past_end_of_life, restricted=restricted)
    for spec in release:
        if error := refusal(spec, terms):
            raise error
    publishing.check_repository(context.settings, release[0].id.distro)
    return release
