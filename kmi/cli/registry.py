"""``kmi registry``: keep the embedded registry up in the foreground."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kmi.publish import embedded

if TYPE_CHECKING:
    from kmi.cli.context import Context


def add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    return subparsers.add_parser(
        "registry",
        parents=[shared],
        help="keep the embedded registry up until Ctrl-C",
        description=f"Keep the embedded registry up at {embedded.ADDRESS} until Ctrl-C. Verbs that are given a local "
        "reference start it by themselves; this is for other programs that pull from it.",
    )


def run(args: argparse.Namespace, context: Context) -> int:  # noqa: ARG001 -- every verb has this form
    try:
        embedded.keep(context.settings, context.ui.line)
    except KeyboardInterrupt:
        context.ui.line("the embedded registry is down")
    return 0
