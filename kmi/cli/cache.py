"""``kmi cache``: what the cache holds, what may go, and whether it is still what it was."""

from __future__ import annotations

import argparse
import re
from datetime import timedelta
from typing import Any

from kmi.cli.context import Context
from kmi.errors import VerificationError
from kmi.host import cache
from kmi.host.ui import amount
from kmi.model.codec import encode
from kmi.publish import embedded

_UNITS = {"": 1, "B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40}
_TIMES = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def add(verbs: Any, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        "cache",
        help="list, prune and verify the cache",
        description="What the cache holds, what may go, and whether it is still what it was.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("ls", "list what the cache holds, the least recently used first"),
        ("prune", "remove what was not used for longest, never what a running kmi uses"),
        ("verify", "hash everything, and drop what is damaged (exit status 4 if something was)"),
    ):
        action = actions.add_parser(name, parents=[shared], help=text, description=text)
        action.add_argument("--json", action="store_true", help="print JSON")
        if name == "prune":
            action.add_argument("--max-size", type=size, metavar="SIZE", help="leave at most this much, such as 20GiB")
            action.add_argument("--older-than", type=age, metavar="AGE", help="what was not used for this long: 30d")
            action.add_argument("--dry-run", action="store_true", help="only say what would go")
            action.set_defaults(usage=action.error)
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    return {"ls": _ls, "prune": _prune, "verify": _verify}[args.action](args, context)


def size(text: str) -> int:
    """Bytes from ``20GiB``, ``1.5 TiB`` or a bare number (ValueError is argparse's sign for a wrong value)."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)", text.strip())
    if not match or match[2].upper() not in _UNITS:
        raise ValueError(text)
    return int(float(match[1]) * _UNITS[match[2].upper()])


def age(text: str) -> timedelta:
    """A time from ``12h``, ``30d`` or ``4w``."""
    match = re.fullmatch(r"([0-9]{1,5})([hdw])", text.strip())
    if not match:
        raise ValueError(text)
    return int(match[1]) * _TIMES[match[2]]


def _ls(args: argparse.Namespace, context: Context) -> int:
    found = cache.entries(context.store.root)
    if args.json:
        context.say_json([_json(entry) for entry in found])
        return 0
    for entry in found:
        context.say(_line(entry))
    context.ui.line(f"{amount(cache.total(found))} in {context.store.root}")
    return 0


def _prune(args: argparse.Namespace, context: Context) -> int:
    if args.max_size is None and args.older_than is None:
        args.usage("say what may go: --max-size SIZE, --older-than AGE or both")
    gone, left = cache.prune(context.store, max_size=args.max_size, older_than=args.older_than, dry_run=args.dry_run)
    if args.json:
        context.say_json([_json(entry) for entry in gone])
    else:
        for entry in gone:
            context.say(_line(entry))
    freed = cache.total((*gone, *left)) - cache.total(left)
    context.ui.line(f"{amount(freed)} {'would go' if args.dry_run else 'went'}, {amount(cache.total(left))} left")
    kept = [entry for entry in left if entry.in_use or entry.kind not in cache.PRUNABLE]
    if args.max_size is not None and cache.total(left) > args.max_size and kept:
        names = ", ".join(f"{entry.kind} {entry.name} ({amount(entry.size)})" for entry in kept)
        context.ui.warn(
            f"more than {amount(args.max_size)} is left: in use, or nothing that kmi can make again: {names}"
        )
    return 0


def _verify(args: argparse.Namespace, context: Context) -> int:
    with context.ui.step("cache", "verify") as step:
        damaged = cache.verify(context.store, lambda entry: step.detail(f"{entry.kind} {entry.name}"))
        damaged += embedded.check(context.settings)
        step.done(f"{len(damaged)} damaged" if damaged else "nothing is damaged")
    if args.json:
        context.say_json(encode(damaged))
    else:
        for one in damaged:
            context.say(f"{one.name}: {one.what}{'' if one.dropped else ' (kept: the registry is up)'}")
    return VerificationError.exit_code if damaged else 0


def _json(entry: cache.Entry) -> dict[str, object]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "size": entry.size,
        "used": encode(entry.used),
        "in_use": entry.in_use,
    }


def _line(entry: cache.Entry) -> str:
    name = entry.name if len(entry.name) <= 50 else entry.name[:49] + "…"
    used = "in use" if entry.in_use else f"{entry.used:%Y-%m-%d %H:%M}"
    return f"{entry.kind:<9}  {name:<50}  {amount(entry.size):>10}  {used}"
