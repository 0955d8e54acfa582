"""``kmi vm``: a VirtualMachine for an image, pinned by digest."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from kmi.errors import UsageError, VerificationError
from kmi.kubevirt import machine
from kmi.model.digest import Digest
from kmi.model.metadata import of_labels
from kmi.model.platform import Arch
from kmi.oci import reference as references
from kmi.oci import registry
from kmi.oci.layout import load, manifests
from kmi.oci.reference import Reference
from kmi.publish import embedded

if TYPE_CHECKING:
    from kmi.cli.context import Context


def add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "vm",
        parents=[shared],
        help="print a VirtualMachine for an image",
        description="Print KubeVirt YAML for an image on stdout. A tag is resolved first: the YAML names the digest.",
    )
    parser.add_argument("reference", metavar="REF", help="host[:port]/path:tag or …@sha256:hex")
    parser.add_argument("--full", action="store_true", help="with keys through the guest agent, firmware and devices")
    parser.add_argument("--name", type=machine.checked_name, help="the machine's name (default: distro and release)")
    parser.add_argument(
        "--arch", type=Arch, choices=tuple(Arch), help="architecture (default: amd64, or the only one there is)"
    )
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    reference = references.parse(args.reference)
    with embedded.serving(reference.host, context.settings, create=False, note=context.ui.line):
        pinned = reference.pinned(reference.digest or registry.resolve(reference))
        metadata = _metadata(pinned, args.arch)
    form = machine.full if args.full else machine.minimal
    context.say(form(metadata, str(pinned), args.name).rstrip("\n"))
    return 0


def _metadata(pinned: Reference, arch: Arch | None) -> dict[str, str]:
    """The record in the labels of the chosen architecture's image."""
    config = load(registry.config(pinned.pinned(_choose(pinned, arch))))
    labels = (config.get("config") or {}).get("Labels") or {}
    metadata = of_labels(labels)
    if not metadata["distro"]:
        raise VerificationError(
            "the image does not say what it is",
            expected="kmi's labels",
            got=f"{len(labels)} other labels",
            where=pinned,
            hint="was it made by kmi?",
        )
    return metadata


def _choose(pinned: Reference, arch: Arch | None) -> Digest:
    """The asked-for architecture's image; amd64 or the only one if none was asked for."""
    images = dict(_images(pinned))
    if len(images) == 1 and arch is None:
        return next(iter(images.values()))
    wanted = arch or Arch.AMD64
    if wanted not in images:
        raise UsageError(
            f"the image has nothing for {wanted}",
            expected=", ".join(images),
            where=pinned,
            hint="name one of these with --arch",
        )
    return images[wanted]


def _images(pinned: Reference) -> Iterator[tuple[str, Digest]]:
    """Architecture and digest of each image in an index (some builders list attestations there, as ``unknown``), or of
    the image that stands alone: there only the config tells its architecture."""
    manifest = load(registry.raw_manifest(pinned))
    if "manifests" in manifest:
        yield from (
            (child.architecture, child.digest) for child in manifests(manifest) if child.architecture != "unknown"
        )
    elif pinned.digest:
        yield str(load(registry.config(pinned)).get("architecture", "")), pinned.digest
