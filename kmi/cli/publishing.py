"""What ``run`` and ``publish`` share: where to, signed by whom, and what is told and left behind at the end."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmi.cli import summary
from kmi.cli.context import Context
from kmi.host.store import write_text
from kmi.host.ui import Reporter, amount, duration
from kmi.settings import LOCAL, Settings

if TYPE_CHECKING:
    from kmi.model.stages import Promoted
    from kmi.pipeline.build import Built
    from kmi.pipeline.releases import Release
    from kmi.pipeline.site import Site
    from kmi.publish.keyless import Identity
    from kmi.publish.keys import KeyPair

LEFT = ("vm.yaml", "verify.sh")
"""What a run leaves beside its receipt for people; of no use, and so removed, while it is not true."""

_COLUMNS = ("image", "tier", "digest", "size", "trust")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A release that was published."""

    site: Site
    release: Release
    built: Built
    promoted: Promoted


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", dest="registry", metavar="REGISTRY", help="host[:port]/path, or local (default)")
    signing = parser.add_mutually_exclusive_group()
    signing.add_argument("--key", metavar="FILE", help="cosign private key (made on first use)")
    signing.add_argument("--keyless", action="store_true", help="sign as this GitHub Actions job, without a key")
    parser.add_argument("--redistribute", action="store_true",
                        help="pass on also images whose publisher restricts that: you have read the policy that "
                        "`kmi list --json` names, and may")  # fmt: skip


def signer(args: argparse.Namespace, settings: Settings) -> KeyPair | Identity:
    """Who signs. UsageError or HostError, before anything is built, if that cannot be."""
    from kmi.publish import keyless, keys

    return keyless.identity() if args.keyless else keys.ensure(settings.key)


def roles(settings: Settings) -> set[str]:
    """What ``doctor.require`` is to look for."""
    return {"publish", *(("local",) if settings.registry == LOCAL else ())}


def check_repository(settings: Settings, distro: str) -> None:
    """UsageError for a registry that makes no repository."""
    from kmi.oci import reference as references
    from kmi.publish import embedded

    references.parse(embedded.repository(settings, distro))


def registry(context: Context) -> AbstractContextManager[Any]:
    """Have the embedded registry answer for the block, if that is where the images go."""
    from kmi.publish import embedded

    if context.settings.registry != LOCAL:
        return nullcontext()
    log = context.settings.output / "registry.log"
    return embedded.serving(embedded.ADDRESS, context.settings, log, note=context.ui.note)


def begin(site: Site) -> None:
    """What an earlier run left is no longer true."""
    for name in LEFT:
        (site.folder / name).unlink(missing_ok=True)


def finish(done: Done, by: KeyPair | Identity, context: Context) -> None:
    """Leave the commands, say what was done, and print the reference."""
    from kmi.kubevirt import machine
    from kmi.pipeline.publish import leave_commands

    reference = done.promoted.published.reference
    metadata = done.built.metadata[done.built.index.images[0].digest]
    write_text(done.site.folder / "vm.yaml", machine.minimal(metadata, reference))
    command = leave_commands(done.promoted, by, _command(), done.site)
    tell(context.ui, done.site, done.promoted.tags, command)
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        summary.append(Path(file), f"Published: {reference}", [_COLUMNS, *rows(done)])
    context.say(reference)


def rows(done: Done) -> list[tuple[str, ...]]:
    """A line of the summary for each image."""
    tiers = {spec.id: spec.tier.value for spec in done.release}
    images = [(image, done.built.metadata[image.digest]) for image in done.built.index.images]
    return [
        (str(image.id), tiers[image.id], str(image.digest), amount(int(metadata["disk-size"])), metadata["trust"])
        for image, metadata in images
    ]


def tell(ui: Reporter, site: Site, tags: tuple[str, ...], command: str) -> None:
    """What was done, how long it took, and where to go on."""
    ui.line()
    image = max(18, *(len(record.image) for record in site.records))
    stage = max(len(record.stage) for record in site.records)
    for record in site.records:
        word = "reused" if record.reused else duration(record.seconds)
        ui.line(f"  {record.image:<{image}} {record.stage:<{stage}} {word:>14}")
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
