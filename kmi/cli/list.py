"""``kmi list``: every image of the catalogue."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kmi.catalogue import load, select
from kmi.catalogue.select import ALL
from kmi.model.spec import ImageSpec

if TYPE_CHECKING:
    from kmi.cli.context import Context

_COLUMNS = ("distro", "release", "arch", "tier", "trust", "source", "end of life")


def add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "list",
        parents=[shared],
        help="list the images that can be built",
        description="List the images of the catalogue. A star marks the release that is built when none is named.",
    )
    parser.add_argument("selectors", nargs="*", metavar="DISTRO[:RELEASE]", help="only these, with * (default: all)")
    parser.add_argument("--arch", default=ALL, help="only this architecture (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    specs = select(load(context.settings.distros), args.selectors or ["*:*"], args.arch)
    if args.json:
        context.say_json([_json(spec) for spec in specs])
    else:
        context.say(_table([_COLUMNS, *(_row(spec) for spec in specs)]))
    return 0


def _row(spec: ImageSpec) -> tuple[str, ...]:
    ends = spec.end_of_life.isoformat() if spec.end_of_life else ""
    release = spec.id.release + ("*" if spec.default else "")
    return spec.id.distro, release, spec.id.arch, spec.tier, _trust(spec), ", ".join(_sources(spec)), ends


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _trust(spec: ImageSpec) -> str:
    """What proves the download; a bootstrap is always traced to the archive's key."""
    if spec.cloud_image:
        return spec.cloud_image.trust.kind
    return "apt" if spec.archive else ""


def _sources(spec: ImageSpec) -> list[str]:
    return [name for name, there in (("download", spec.cloud_image), ("bootstrap", spec.archive)) if there]


def _json(spec: ImageSpec) -> dict[str, object]:
    return {
        "id": str(spec.id),
        "distro": spec.id.distro,
        "release": spec.id.release,
        "codename": spec.codename,
        "arch": spec.id.arch.value,
        "default": spec.default,
        "tier": spec.tier.value,
        "trust": _trust(spec),
        "sources": _sources(spec),
        "firmware": [firmware.value for firmware in spec.firmware],
        "init": spec.init,
        "user": spec.user,
        "agent": spec.agent,
        "packages": list(spec.recipe.packages) if spec.recipe else [],
        "end_of_life": spec.end_of_life.isoformat() if spec.end_of_life else None,
    }
