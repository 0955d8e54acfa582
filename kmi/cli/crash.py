"""What happens when kmi is wrong: a report is written, four lines say so, and the exit status is 3.

A bug is an exception that no room of kmi raises on purpose, or an ``InternalError``. Where the reporter fails itself,
the bug is told plainly.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from kmi.cli.report import Bugs, Case, folders, origin, place, report, sentence, tilde
from kmi.errors import InternalError, Interrupted
from kmi.host.run import restart
from kmi.host.store import write_text
from kmi.settings import Settings


@contextmanager
def threads() -> Iterator[dict[str, BaseException]]:
    """Collect what is raised in threads that nobody waits for; Python would print it and go on."""
    found: dict[str, BaseException] = {}

    def note(told: threading.ExceptHookArgs) -> None:
        if told.exc_value and not isinstance(told.exc_value, Interrupted | SystemExit):
            found[told.thread.name if told.thread else "a thread"] = told.exc_value

    before, threading.excepthook = threading.excepthook, note
    try:
        yield found
    finally:
        threading.excepthook = before


def handle(bugs: Bugs, case: Case) -> int:
    """Write the report and say where it lies. Returns exit status 3, whatever happens on the way."""
    try:
        restart()
        text = report(bugs, case)
        path = _write(text, case.settings)
        for name, error in bugs.items():
            case.ui.error("\n".join(_told(name, origin(error), path)))
        if path is None:
            case.ui.line(text)
    except BaseException as second:
        _plainly((*bugs.values(), second), case)
    return InternalError.exit_code


def _told(name: str, error: BaseException, path: Path | None) -> list[str]:
    rows = [
        ("where", place(error)),
        ("report", tilde(str(path)) if path else "no folder could be written: it follows"),
        ("hint", f"kmi has a bug: please read the report and file it at {_tracker()}"),
    ]
    return [f"bug: {name}{': ' if name else ''}{sentence(error)}", *(f"  {name:<9}{value}" for name, value in rows)]


def _write(text: str, settings: Settings | None) -> Path | None:
    """Into the output folder, else the cache, else the system's folder for temporary files; None if nothing goes."""
    name = f"kmi-crash-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.md"
    for folder in folders(settings):
        try:
            write_text(folder / name, text)
        except OSError:
            continue
        return folder / name
    return None


def _tracker() -> str:
    """The project's web address where the package names one."""
    try:
        urls = dict(entry.split(", ", 1) for entry in metadata.metadata("kmi").get_all("Project-URL") or ())
    except (metadata.PackageNotFoundError, ValueError):
        urls = {}
    return urls.get("Issues") or urls.get("Repository") or "the project's issue tracker"


def _plainly(errors: Sequence[BaseException], case: Case) -> None:
    try:
        for error in errors:
            case.ui.line("".join(traceback.format_exception(error)))
        case.ui.line("bug: kmi has a bug, and could not write its report (the last traceback says why)")
    except Exception:  # what blanks secrets and prints lines may be what is broken
        for error in errors:
            traceback.print_exception(error)
