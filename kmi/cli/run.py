"""``kmi run``: build, push by digest, boot what was pushed, sign, verify, and tag last."""

from __future__ import annotations

import argparse
import shutil
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kmi.cli.build import add_options, as_of, host
from kmi.cli.context import Context
from kmi.host import doctor
from kmi.host.http import Http
from kmi.host.store import write_text
from kmi.host.ui import Reporter, duration
from kmi.settings import LOCAL

LEFT = ("vm.yaml", "verify.sh")
"""What a run leaves beside its receipt for people; of no use, and so removed, while it is not true."""


def add(verbs: Any, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        "run", parents=[shared], help="build, publish, boot, sign, verify and tag", description=__doc__
    )
    add_options(parser)
    parser.add_argument("--to", dest="registry", metavar="REGISTRY", help="host[:port]/path, or local (default)")
    parser.add_argument("--key", metavar="FILE", help="cosign private key (made on first use)")
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    from kmi import catalogue
    from kmi.kubevirt import machine
    from kmi.model.stages import Promoted
    from kmi.oci import reference as references
    from kmi.pipeline.build import build, tools
    from kmi.pipeline.publish import leave_commands, publish
    from kmi.pipeline.releases import Release, each, releases
    from kmi.pipeline.site import Site, at
    from kmi.publish import embedded, keys

    began = datetime.now(UTC)
    settings = context.settings
    chosen = releases(catalogue.select(catalogue.load(settings.distros), args.selector, args.arch), host())
    local = settings.registry == LOCAL
    doctor.require({"build", args.source, "publish", "boot", *(("local",) if local else ())}, settings.cache)
    for release in chosen:  # what would otherwise be found out after minutes of building
        references.parse(embedded.repository(settings, release[0].id.distro))
    keys.ensure(settings.key)

    def work(release: Release) -> tuple[Site, Promoted]:
        site = at(settings, context.store, Http(mirrors=settings.mirrors), context.ui, release)
        for name in LEFT:
            (site.folder / name).unlink(missing_ok=True)
        with site.receipts(tools()) as result:
            built = build(release, source=args.source, as_of=as_of(args, began), site=site)
            promoted = publish(release, built, site=site)
            result |= {"reference": promoted.published.reference, "tags": promoted.tags}
        metadata = built.metadata[built.index.images[0].digest]
        write_text(site.folder / "vm.yaml", machine.minimal(metadata, promoted.published.reference))
        return site, promoted

    def done(made: tuple[Site, Promoted]) -> None:
        site, promoted = made
        command = leave_commands(promoted, settings.key.with_suffix(".pub"), _command(), site)
        tell(context.ui, site, promoted.tags, command)
        context.say(promoted.published.reference)

    log = settings.output / "registry.log"
    with embedded.serving(embedded.ADDRESS, settings, log, note=context.ui.note) if local else nullcontext():
        each(work, done, chosen, args.jobs)
    context.ui.line(f"done in {duration((datetime.now(UTC) - began).total_seconds())}")
    return 0


def tell(ui: Reporter, site: Any, tags: tuple[str, ...], command: str) -> None:
    """What was done, how long it took, and where to go on."""
    ui.line()
    width = max(len(record.stage) for record in site.records)
    for record in site.records:
        word = "reused" if record.reused else duration(record.seconds)
        ui.line(f"  {record.image:<18} {record.stage:<{width}} {word:>14}")
    ui.line()
    ui.line(f"  tags              {' '.join(tags)}")
    ui.line(f"  VirtualMachine    {site.folder / 'vm.yaml'}")
    ui.line(f"  receipt           {site.receipt}")
    ui.line(f"  verify            {command}")
    ui.line()


def _command() -> str:
    """How this kmi was called, so that a printed command works as it stands."""
    beside = Path(sys.executable).with_name("kmi")
    return "kmi" if shutil.which("kmi") == str(beside) or not beside.exists() else str(beside)
