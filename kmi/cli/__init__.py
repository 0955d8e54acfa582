"""The command line: one module for each verb, one place where errors become text and an exit status."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from kmi import __version__, settings
from kmi.cli.context import Context
from kmi.errors import InternalError, Interrupted, KmiError, ManyErrors
from kmi.host.store import write_text
from kmi.host.ui import Reporter

VERBS = ("list", "build", "run", "vm", "inspect", "verify", "registry", "doctor")
"""In the order of the help text; ``kmi.cli.<verb>`` has ``add(subparsers)`` and ``run(args, context) -> int``."""


def entry() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def main(argv: Sequence[str]) -> int:
    """Run one command line and return its exit status. Raises nothing but argparse's SystemExit."""
    ui = Reporter()
    signal.signal(signal.SIGTERM, _stop)
    try:
        args = parser().parse_args(argv)
        flags = {name: value for name, value in vars(args).items() if name not in ("verb", "handler")}
        context = Context(settings=settings.load(Path.cwd(), os.environ, flags), ui=ui)
        return int(args.handler(args, context))
    except ManyErrors as failed:
        for image, error in failed.failures.items():
            tell(ui, error, image)
        return failed.exit_code
    except KmiError as error:
        tell(ui, error)
        return error.exit_code
    except KeyboardInterrupt:
        tell(ui, Interrupted("stopped", hint="run the same command again: it goes on where it was"))
        return Interrupted.exit_code
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="ascii")  # noqa: SIM115, PTH123 -- kept for the interpreter's last flush
        return 0
    except Exception:
        return crash(ui, argv)


class _Parser(argparse.ArgumentParser):
    """Says what a mistyped verb or option may have meant, of the words in ``known``."""

    known: frozenset[str] = frozenset(VERBS)

    def error(self, message: str) -> NoReturn:
        words = [word for word in re.findall(r"'([^']+)'|(--?[\w-]+)", message) for word in word if word]
        close = difflib.get_close_matches(words[0], self.known, n=1) if words and words[0] not in self.known else []
        hint = f"\n  hint     did you mean {close[0]}?" if close else ""
        self.exit(2, f"{self.format_usage()}error: {message}{hint}\n")


def parser() -> argparse.ArgumentParser:
    root = _Parser(
        prog="kmi",
        description="Build, prove, test, sign and publish KubeVirt Machine Images.",
        epilog="Exit status: 0 ok, 1 build failed, 2 usage or manifest, 3 bug, 4 verification refused, "
        "5 gate refused, 6 network or registry, 7 host lacks something, 130 interrupted.",
    )
    root.add_argument("--version", action="version", version=f"kmi {__version__}")
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("settings (kmi.toml and KMI_* set them too)")
    group.add_argument("--cache", type=Path, metavar="DIR", help="cache folder")
    group.add_argument("--distros", type=Path, metavar="DIR", help="folder of manifests (default: distros)")
    group.add_argument("--output", type=Path, metavar="DIR", help="folder of results (default: build)")
    verbs = root.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in VERBS:
        module = importlib.import_module(f"kmi.cli.{verb}")
        subparser = module.add(verbs, shared)
        subparser.set_defaults(handler=module.run)
        root.known |= set(subparser._option_string_actions)
    return root


def tell(ui: Reporter, error: KmiError, image: str = "") -> None:
    """An error as people read it: the sentence, then its facts."""
    rows = [f"{error.label}: {image + ': ' if image else ''}{error.what}"]
    rows += [f"  {name:<9}{value}" for name, value in error.facts()]
    ui.error("\n".join(rows), where=str(error.where) if error.where else None)


def crash(ui: Reporter, argv: Sequence[str]) -> int:
    """A foreign exception is a bug of kmi: keep a report that can be pasted into an issue."""
    text = (
        f"# kmi {__version__} crashed\n\n`kmi {' '.join(argv)}` on Python {sys.version}\n\n"
        f"```\n{traceback.format_exc()}```\n"
    )
    report = Path("kmi-crash.md").absolute()
    try:
        write_text(report, text)
    except OSError:  # the current folder cannot be written
        report = Path(tempfile.mkdtemp(prefix="kmi-")) / report.name
        write_text(report, text)
    cause = traceback.format_exc().strip().splitlines()[-1]
    tell(ui, InternalError("kmi has a bug", got=cause, hint="please report it with the file named below", log=report))
    return InternalError.exit_code


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
