"""``kmi show --ready``: which releases their test results would carry to the next tier."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from kmi.catalogue.graduation import graduation
from kmi.cli.context import Context
from kmi.errors import UsageError
from kmi.model.spec import ImageSpec
from kmi.pipeline import trial
from kmi.pipeline.evidence import case
from kmi.policy.ready import Readiness, readiness


def run(specs: Iterable[ImageSpec], args: argparse.Namespace, context: Context, today: date) -> None:
    """Tell of each release; a tier belongs to a release, so all its architectures have to be ready."""
    groups: dict[str, list[ImageSpec]] = {}
    for spec in specs:
        groups.setdefault(spec.id.name, []).append(spec)
    told = {name: [_of(spec, args, context, today) for spec in group] for name, group in groups.items()}
    if args.json:
        context.say_json([_json(name, [one for one in found if one]) for name, found in told.items()])
    else:
        texts = [_text(groups[name], [one for one in found if one]) for name, found in told.items()]
        context.say("\n\n".join(texts))


def _of(spec: ImageSpec, args: argparse.Namespace, context: Context, today: date) -> Readiness | None:
    output = context.settings.output
    if absent := next((folder for folder in args.evidence if not folder.is_dir()), None):
        raise UsageError("there is no such folder", expected="a folder of test results", got=absent)
    reports = trial.earlier(str(spec.id), (output / str(spec.id), output / spec.id.name, *args.evidence))
    return readiness(case(spec, context.settings, today), [one for one in reports if trial.whole(one, spec)], args.runs)


def _text(release: Sequence[ImageSpec], found: Sequence[Readiness]) -> str:
    spec = release[0]
    if not found:
        return f"{spec.id.name}: {spec.tier}; tests lead no further"
    lines = [f"{spec.id.name}: {spec.tier}, next {found[0].tier}"]
    for one in found:
        mark = "✓" if one.ready else "✗"
        lines.append(f"  {mark} {one.image.arch:<8} {_runs(one)}{_left(one)}")
    if all(one.ready for one in found):
        manifest = Path(spec.where.rpartition(":")[0])
        lines += ["", "Ready. What is left is a person's decision, one line:", ""]
        lines.append(graduation(manifest, spec.id.release, found[0].tier).rstrip("\n"))
    return "\n".join(lines)


def _runs(one: Readiness) -> str:
    return f"{min(one.green, one.wanted)} of {one.wanted} green runs in a row"


def _left(one: Readiness) -> str:
    return f"; still to be met: {', '.join(one.left)}" if one.left else ""


def _json(name: str, found: Sequence[Readiness]) -> dict[str, object]:
    return {
        "release": name,
        "tier": found[0].tier.value if found else None,
        "ready": bool(found) and all(one.ready for one in found),
        "images": [
            {"id": str(one.image), "green": one.green, "wanted": one.wanted, "left": list(one.left)} for one in found
        ],
    }
