"""``kmi doctor``: what this host has, what it lacks, and what to do about it."""

from __future__ import annotations

import argparse
from typing import Any

from kmi.cli.context import Context
from kmi.errors import HostError
from kmi.host import doctor
from kmi.model.codec import encode

_MARKS = {"ok": "✓", "missing": "✗", "note": "·"}


def add(verbs: Any, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        "doctor",
        parents=[shared],
        help="check this host",
        description="What this host has, what it lacks (exit status 7 if something), and what to do about it.",
    )
    parser.add_argument("--json", action="store_true", help="machine-readable report on stdout")
    return parser


def run(args: argparse.Namespace, context: Context) -> int:
    findings = doctor.report(context.settings.cache)
    if args.json:
        context.say_json(encode(findings))
    else:
        width = max(len(finding.name) for finding in findings)
        for finding in findings:
            remedy = f" → {finding.remedy}" if finding.state == "missing" else ""
            context.say(f"{_MARKS[finding.state]} {finding.name:<{width}}  {finding.detail}{remedy}")
    return HostError.exit_code if any(finding.state == "missing" for finding in findings) else 0
