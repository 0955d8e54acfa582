"""``kmi new``: a manifest to fill in."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kmi.catalogue import template
from kmi.errors import UsageError
from kmi.host.files import write_text

if TYPE_CHECKING:
    from kmi.cli.context import Context


def add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "new",
        parents=[shared],
        help="begin the manifest of a distro",
        description="Write a commented manifest for a distro that the catalogue does not have, and the text of its "
        "licence to fill in. Nothing that exists is written over. The paths go to stdout.",
    )
    parser.add_argument("name", metavar="NAME", help="as in references and selectors: debian, opensuse-leap")
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    folder = context.settings.distros
    texts = {folder / path: text for path, text in template.manifest(args.name).items()}
    for path in texts:
        if path.exists():
            raise UsageError(f"there is {path} already", hint="edit it, or choose another name")
    for path, text in texts.items():
        write_text(path, text)
        context.say(str(path))
    context.ui.line(f"fill it in, then: kmi check {next(iter(texts))}")
    return 0
