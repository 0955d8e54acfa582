"""``kmi run``: build, push by digest, boot what was pushed, sign, verify, and tag last."""

from __future__ import annotations

import argparse
import shutil
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kmi.cli.build import add_options, as_of
from kmi.cli.context import Context
from kmi.host import doctor
from kmi.host.http import Http
from kmi.host.store import write_text
from kmi.host.ui import Reporter, duration
from kmi.settings import LOCAL


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
    from kmi.pipeline.build import build, tools
    from kmi.pipeline.publish import leave_commands, publish
    from kmi.pipeline.releases import Release, each, releases
    from kmi.pipeline.site import Site, at
    from kmi.publish import embedded

    began = datetime.now(UTC)
    settings = context.settings
    chosen = releases(catalogue.select(catalogue.load(settings.distros), args.selector, args.arch))
    local = settings.registry == LOCAL
    doctor.require({"build", args.source, "publish", "boot", *(("local",) if local else ())}, settings.cache)

    def work(release: Release) -> tuple[Site, str]:
        site = at(context.settings, context.store, Http(mirrors=context.settings.mirrors), context.ui, release)
        built = build(release, source=args.source, as_of=as_of(args, began), site=site)
        promoted = publish(release, built, site=site)
        reference = promoted.published.reference
        metadata = built.metadata[built.index.images[0].digest]
        write_text(site.folder / "vm.yaml", machine.minimal(metadata, reference))
        command = leave_commands(promoted, settings.key.with_suffix(".pub"), _command(), site)
        site.write_receipt({"reference": reference, "tags": promoted.tags}, tools())
        tell(context.ui, site, promoted.tags, command)
        return site, reference

    log = settings.output / "registry.log"
    serving = embedded.serving(embedded.ADDRESS, settings, log, note=context.ui.note) if local else nullcontext()
    with serving:
        done = each(work, chosen, args.jobs)
    for _, reference in done:
        context.say(reference)
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
