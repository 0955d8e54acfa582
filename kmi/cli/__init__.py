"""The command line: one module for each verb, one place where errors become text and an exit status."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from kmi import __version__, settings
from kmi.cli import crash, stops, streams
from kmi.cli.arguments import one_line
from kmi.cli.context import Context
from kmi.cli.report import Case
from kmi.errors import FaultsError, HostError, InternalError, Interrupted, KmiError, ManyErrors, UsageError, foreign
from kmi.host.guarded import guarded
from kmi.host.space import full
from kmi.host.store import owned
from kmi.host.ui import Reporter
from kmi.oci.attempts import be_patient

VERBS = (
    "list", "show", "new", "check", "lock", "build", "test", "publish", "run", "vm", "inspect", "verify", "registry",
    "doctor", "cache",
)  # fmt: skip
"""In the order of the help text; ``kmi.cli.<verb>`` has ``add(subparsers)`` and ``run(args, context) -> int``."""


CACHED = frozenset({"lock", "build", "test", "run", "publish", "registry", "doctor", "cache"})
"""The verbs that work in the cache, temporary files included. A verifier needs none and leaves nothing anywhere."""

_LONGEST = 1000
"""Characters of one line of an error: some repeat what they were given."""


def entry() -> None:
    """The console script."""
    streams.secure()
    try:
        status = main(sys.argv[1:])
    except SystemExit as stop:  # argparse
        status = stop.code if isinstance(stop.code, int) else UsageError.exit_code
    sys.exit(streams.finish(status))


def main(argv: Sequence[str]) -> int:
    """Run one command line and return its exit status. Raises nothing but argparse's SystemExit."""
    case = Case(argv=argv, ui=Reporter())
    stops.obey()
    with crash.threads() as bugs:
        try:
            status = _run(case)
        except Exception as error:  # while an error was told
            status = crash.handle({"": error}, case)
    return crash.handle(bugs, case) if bugs and status == 0 else status


def _run(case: Case) -> int:
    ui = case.ui
    try:
        args = parser().parse_args(case.argv)
        streams.ready()
        flags = {name: value for name, value in vars(args).items() if name not in ("verb", "handler")}
        case.settings = settings.load(_folder(), os.environ, flags)
        be_patient(case.settings.patience)
        with guarded(partial(owned, case.settings.cache) if args.verb in CACHED else None):
            return int(args.handler(args, Context(settings=case.settings, ui=ui)))
    except ManyErrors as failed:
        for image, error in failed.failures.items():
            if image not in failed.bugs:
                tell(ui, _placed(error, case), image)
        if failed.bugs:
            crash.handle(failed.bugs, case)
        return failed.exit_code
    except InternalError as error:
        return crash.handle({"": error}, case)
    except KmiError as error:
        tell(ui, error)
        return error.exit_code
    except KeyboardInterrupt:
        tell(ui, Interrupted("stopped", hint="run the same command again: it goes on where it was"))
        return Interrupted.exit_code
    except Exception as error:
        known = foreign(error)
        if isinstance(known, InternalError):
            return crash.handle({"": error}, case)
        tell(ui, _placed(known, case))
        return known.exit_code


def _placed(error: KmiError, case: Case) -> KmiError:
    """A full disk with its name: the system says only that one is."""
    chosen = case.settings
    if chosen is None:
        return error
    return full(error, (chosen.cache, chosen.output, Path(tempfile.gettempdir()), Path.cwd()), chosen.cache)


def _folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        raise HostError("the current folder was removed", hint="change to one that exists") from error


_STATUS = """\
exit status (docs/operating.md says what to do about each):
  0    done
  1    a step or a tool failed
  2    the command line, the settings or a manifest is wrong
  3    kmi has a bug; it left a report
  4    refused: a digest, a signature or a rule did not hold
  5    built, but a check of its tier did not pass
  6    a server or registry did not answer as it should
  7    this machine lacks a program, a permission or space
  130  interrupted; the same command goes on where it was"""


class _Parser(argparse.ArgumentParser):
    """Says what a mistyped verb or option may have meant, of the words in ``known``."""

    known: frozenset[str] = frozenset(VERBS)

    def error(self, message: str) -> NoReturn:
        message = one_line(message)
        words = [word for word in re.findall(r"'([^']+)'|(--?[\w-]+)", message) for word in word if word]
        close = difflib.get_close_matches(words[0], self.known, n=1) if words and words[0] not in self.known else []
        hint = f"\n  hint     did you mean {close[0]}?" if close else ""
        self.exit(2, f"{self.format_usage()}error: {message}{hint}\n")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Of ``--option=--`` argparse makes an empty list where one text is expected (seen in Python 3.11)."""
        if action.option_strings and action.nargs is None and arg_strings == ["--"]:
            self.error(f"argument {'/'.join(action.option_strings)}: expected one argument")
        return super()._get_values(action, arg_strings)

    def _print_message(self, message: str, file: Any = None) -> None:
        """argparse's way out: help to stdout, the rest to stderr (None where it is closed)."""
        if message and file is not None and file is sys.stdout:
            streams.say(message)
        elif message:
            Reporter().line(message.rstrip("\n"))


def parser() -> argparse.ArgumentParser:
    root = _Parser(
        prog="kmi",
        description="Build, prove, test, sign and publish KubeVirt Machine Images.",
        epilog=_STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"kmi {__version__}")
    shared = argparse.ArgumentParser(add_help=False)
    group = shared.add_argument_group("settings (kmi.toml and KMI_* set them too)")
    group.add_argument("--cache", metavar="DIR", help="cache folder (default: ~/.cache/kmi)")
    group.add_argument("--distros", metavar="DIR", help="folder of manifests (default: distros)")
    group.add_argument("--output", metavar="DIR", help="folder of results (default: build)")
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
    rows = [line[:_LONGEST] + "…" * (len(line) > _LONGEST) for row in rows for line in row.split("\n")]
    if isinstance(error, FaultsError):
        for where, message in error.faults:
            ui.annotate(message, where)
        ui.line("\n".join(rows))
    else:
        ui.error("\n".join(rows), where=str(error.where) if error.where else None)
