"""``kmi check``: whether the manifests and the settings are good, with everything that is wrong in them at once.

The settings come first: where the manifests lie is one of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kmi.catalogue import Catalogue, load, load_files, select
from kmi.catalogue.select import ALL
from kmi.errors import FaultsError
from kmi.model.spec import ImageSpec

if TYPE_CHECKING:
    from kmi.cli.context import Context


def add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "check",
        parents=[shared],
        help="check manifests and settings",
        description="Check the settings and every manifest, or only the manifests that are named as files. All errors "
        "are told at once, each with file and line; exit status 2 if there is one.",
    )
    parser.add_argument(
        "what", nargs="*", metavar="DISTRO[:RELEASE]|FILE", help="only show these, or only check these manifests"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    try:
        specs = _checked(args.what, context.settings.distros)
    except FaultsError as error:
        if args.json:
            context.say_json({"ok": False, "faults": [_fault(*fault) for fault in error.faults], "images": []})
        raise
    if args.json:
        context.say_json({"ok": True, "faults": [], "images": [str(spec.id) for spec in specs]})
        return 0
    rows = [(distro, [spec for spec in specs if spec.id.distro == distro]) for distro in _distros(specs)]
    width = max(len(distro) for distro, _ in rows)
    for distro, images in rows:
        context.say(f"{distro:<{width}}  {_releases(images)}")
    context.ui.line(f"good: {_count(len(rows), 'manifest')}, {_count(len(specs), 'image')}")
    return 0


def _checked(what: list[str], distros: Path) -> tuple[ImageSpec, ...]:
    """The images of the named files and of the selectors, of all manifests where nothing is named."""
    files = [word for word in what if "/" in word or word.endswith((".yaml", ".yml"))]
    selectors = [word for word in what if word not in files]
    wrong: list[tuple[str, str]] = []
    named = _collected(lambda: load_files([Path(file) for file in dict.fromkeys(files)]), wrong)
    every = _collected(lambda: load(distros), wrong) if selectors or not files else Catalogue(specs=())
    if wrong:
        raise FaultsError("the manifests", list(dict.fromkeys(wrong)))
    chosen = select(every, selectors or ["*:*"], ALL) if every.specs else ()
    return tuple(dict.fromkeys((*named.specs, *chosen)))


def _collected(read: Callable[[], Catalogue], wrong: list[tuple[str, str]]) -> Catalogue:
    try:
        return read()
    except FaultsError as error:
        wrong += error.faults
        return Catalogue(specs=())


def _fault(where: str, message: str) -> dict[str, object]:
    file, _, line = where.rpartition(":")
    return {"file": file or where, "line": int(line) if file and line.isdecimal() else None, "message": message}


def _distros(specs: tuple[ImageSpec, ...]) -> list[str]:
    return list(dict.fromkeys(spec.id.distro for spec in specs))


def _releases(images: list[ImageSpec]) -> str:
    """``12 (amd64, arm64), 13 (amd64)``"""
    found: dict[str, list[str]] = {}
    for spec in images:
        found.setdefault(spec.id.release, []).append(spec.id.arch.value)
    return ", ".join(f"{release} ({', '.join(architectures)})" for release, architectures in found.items())


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
