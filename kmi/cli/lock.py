"""``kmi lock``: ask the publishers what is current, and write it down; ``--check`` only tells."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kmi.catalogue import load, select
from kmi.catalogue.select import ALL
from kmi.cli import summary
from kmi.cli.arguments import count
from kmi.errors import KmiError, ManyErrors, UsageError
from kmi.host.ui import plain
from kmi.model.codec import encode

if TYPE_CHECKING:
    from kmi.cli.context import Context
    from kmi.model.stages import Locked
    from kmi.pipeline.drift import Row

_COLUMNS = ("image", "lock", "build", "released", "trust", "remark")


def add(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser
) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "lock",
        parents=[shared],
        help="write down which build of each image is current, or see what changed",
        description="Ask the publishers which build of each image is current, prove what they say, and write it to "
        "<distro>.lock.json beside the manifest; build and run then take that build. What goes back in time is "
        "refused.",
        epilog="Planned images, releases past their end of life and images that are only bootstrapped are left out. "
        "Exit status: 0 whether something changed or not; 4 if a publisher went back in time; the highest of all "
        "failures. docs/operating.md has more.",
    )
    parser.add_argument("selectors", nargs="*", metavar="DISTRO[:RELEASE]", help="which images (default: all)")
    parser.add_argument("--arch", default=ALL, help="only this architecture (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing; tell what changed")
    parser.add_argument("--allow-rollback", action="store_true", help="take a build or date older than the lock's")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("-j", "--jobs", type=count, default=4, metavar="N", help="distros side by side (default: 4)")
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    from kmi.pipeline.lock import Refresh, left_out, refreshed

    now = datetime.now(UTC)
    catalogue = load(context.settings.distros)
    specs = select(catalogue, args.selectors or ["*:*"], args.arch)
    chosen, why = left_out(specs, now.date())
    for reason in why:
        context.ui.line(f"left out: {reason}")
    if not chosen:
        raise UsageError("there is nothing to lock", expected="an image to download", where=specs[0].where)
    how = Refresh(
        settings=context.settings,
        store=context.store,
        ui=context.ui,
        known=frozenset(spec.id for spec in catalogue.specs),
        write=not args.check,
        allow_rollback=args.allow_rollback,
        now=now,
    )
    rows, failures = refreshed(chosen, how, args.jobs)
    _tell(rows, failures, args, context)
    if failures:
        raise ManyErrors(failures)
    return 0


def _tell(rows: Sequence[Row], failures: Mapping[str, KmiError], args: argparse.Namespace, context: Context) -> None:
    for row in rows:
        if row.frozen:
            context.ui.warn(f"{row.id}: its publisher has released nothing for {row.silent} days")
    table = [_COLUMNS, *map(cells, rows), *_lost(rows, failures)]
    if args.json:
        context.say_json({"written": not args.check, "images": [_json(row) for row in rows]})
    else:
        context.say(_aligned(table))
    if file := os.environ.get("GITHUB_STEP_SUMMARY"):
        summary.append(Path(file), "Locks: what changed" if args.check else "Locks: what was written", table)


def cells(row: Row) -> tuple[str, ...]:
    """One line of the table."""
    known = [locked for locked in (row.old, row.new) if locked]
    builds = " → ".join(dict.fromkeys(locked.build for locked in known))
    released = f"{known[-1].released_at:%Y-%m-%d}" if known else ""
    return tuple(map(plain, (str(row.id), row.state.value, builds, released, _trust(known[-1:]), _remark(row))))


def _trust(known: Sequence[Locked]) -> str:
    """What proves the digest, and what is left to be proved over the image once it is there."""
    return "".join(f"{one.evidence.kind}, then {one.signed.kind}" if one.signed else one.evidence.kind for one in known)


def _remark(row: Row) -> str:
    said = [row.error.what.partition("\n")[0]] if row.error else []
    if row.frozen:
        said.append(f"nothing new for {row.silent} days")
    if row.state == "changed":
        said.append(", ".join(name for name in row.changes if name != "build") or "what the manifest says of it")
    return "; ".join(said)


def _lost(rows: Sequence[Row], failures: Mapping[str, KmiError]) -> list[tuple[str, ...]]:
    """What failed as a whole, so that it has no rows."""
    told = {str(row.id) for row in rows}
    return [
        (name, "failed", "", "", "", error.what.partition("\n")[0])
        for name, error in failures.items()
        if name not in told
    ]


def _aligned(table: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(_COLUMNS))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in table]
    return "\n".join(line.rstrip() for line in lines)


def _json(row: Row) -> dict[str, object]:
    return {
        "id": str(row.id),
        "state": row.state.value,
        "changes": list(row.changes),
        "old": encode(row.old),
        "new": encode(row.new),
        "silent_days": row.silent,
        "frozen": row.frozen,
        "error": {"status": row.error.exit_code, "what": row.error.what, **dict(row.error.facts())}
        if row.error
        else None,
    }
