"""What the report of a bug says, in Markdown that can be pasted into an issue as it is.

Everything in it goes through ``redact`` before anything is cut, nothing of the environment is dumped, and every text
that kmi did not write itself stands in a fence that is longer than any in it.
"""

from __future__ import annotations

import re
import shlex
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from kmi.cli.tail import newest, tail
from kmi.errors import HostError
from kmi.host import about
from kmi.host.redact import know, redact
from kmi.host.ui import Reporter, duration, plain
from kmi.settings import Settings

LONGEST = 16_000
"""Characters of all tracebacks."""

MOST = 4
"""Tracebacks."""

Bugs = Mapping[str, BaseException]
"""Each with where it happened: an image, a thread, or nothing for the run itself."""


@dataclass(kw_only=True)
class Case:
    """What is known of this run when it breaks. ``settings`` is None until they are loaded."""

    argv: Sequence[str]
    ui: Reporter
    settings: Settings | None = None


def report(bugs: Bugs, case: Case) -> str:
    """The whole Markdown text, at most some 50,000 characters: GitHub takes 65,536 for an issue."""
    # Paths lose the slash by which a URL is known, so what the command line tells is blanked by its words.
    know(*re.findall(r"://[^\s/@:]*:([^\s/@]+)@", " ".join(case.argv)))
    bugs = {name: origin(error) for name, error in bugs.items()}
    title = "; ".join(f"{type(error).__name__} at {place(error)}" for error in bugs.values())
    parts = [
        f"# kmi bug: {_inline(title)}",
        "kmi broke off because of a mistake of its own. Secrets that kmi knows or recognises are blanked (`***`). "
        "Names of hosts, images and folders are not: read this before you publish it.",
        *_section("Versions", _table(about.software())),
        *_section("Command", redact(shlex.join(["kmi", *case.argv]))),
        *_section("Settings that differ from the defaults", _table(_changed(case.settings))),
        *_section("Stages that run or failed", "\n".join(_stages(case.ui))),
    ]
    for name, error in list(bugs.items())[:MOST]:
        text = _middle(redact("".join(traceback.format_exception(error))), LONGEST // min(len(bugs), MOST))
        parts += _section(f"Traceback of {_inline(name)}" if name else "Traceback", text)
    if len(bugs) > MOST:
        parts.append(f"{len(bugs) - MOST} more are left out.")
    if case.settings:
        for log in newest(case.settings.output, case.ui.unfinished()):
            parts += _section(f"End of {_inline(str(log))}", tail(log))
    printed = redact("\n".join(case.ui.printed)).splitlines()
    parts += _section("Last lines printed", "\n".join(line[:160] for line in printed))
    parts += _section("Machine", _table(about.surroundings(folders(case.settings))))
    return tilde("\n\n".join(parts)) + "\n"


def _section(title: str, text: str) -> list[str]:
    """A heading and its text, fenced so that nothing in it ends the fence (CommonMark, 4.5)."""
    text = plain(redact(text)).strip("\n") or "none"
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 0)
    return [f"## {title}", f"{fence}text\n{text}\n{fence}"]


def _stages(ui: Reporter) -> list[str]:
    return [
        f"{trace.image} {trace.name}: {'failed' if trace.failed else 'running'} after {duration(trace.seconds)} "
        f"{redact(trace.detail)[:200]}".rstrip()
        for trace in ui.unfinished()
    ]


def _changed(settings: Settings | None) -> list[tuple[str, str]]:
    if settings is None:
        return [("settings", "not loaded")]
    try:
        usual = Settings()
    except HostError:  # no home folder
        usual = Settings(cache=settings.cache, key=settings.key)
    pairs = [(one.name, getattr(settings, one.name), getattr(usual, one.name)) for one in fields(Settings)]
    return [
        (name, str(now))
        for name, now, before in pairs
        if (before.absolute() if isinstance(before, Path) else before) != now
    ]


def origin(error: BaseException) -> BaseException:
    """What ``errors.foreign`` wrapped: that one was never raised itself."""
    return error.__cause__ if error.__cause__ and error.__traceback__ is None else error


def sentence(error: BaseException) -> str:
    """The exception's first line, as Python prints it."""
    text = redact("".join(traceback.format_exception_only(error)).strip()).splitlines()
    return text[0][:300] if text else type(error).__name__


def place(error: BaseException) -> str:
    """``kmi/room/module.py:line`` of the innermost frame that is kmi's; else the innermost one."""
    frames = traceback.extract_tb(error.__traceback__)
    root = Path(__file__).parents[1]
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(root)]
    if ours:
        return f"kmi/{Path(ours[-1].filename).relative_to(root)}:{ours[-1].lineno}"
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"


def _table(rows: list[tuple[str, str]]) -> str:
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {redact(value)[:300]}" for name, value in rows)


def _inline(text: str) -> str:
    """One line that is no Markdown: for headings."""
    return re.sub(r"[`*<>\[\]\\|#@\s]", " ", plain(redact(text)))[:200]


def _middle(text: str, limit: int) -> str:
    """The text without its middle where it is longer than ``limit``: a deep recursion has thousands of lines."""
    return text if len(text) <= limit else f"{text[: limit // 3]}\n[…]\n{text[-limit * 2 // 3 :]}"


def tilde(text: str) -> str:
    """The home folder's path tells a name; ``~`` says as much."""
    try:
        home = str(Path.home())
    except RuntimeError:
        return text
    return text if home == "/" else re.sub(rf"(?<![\w.~-]){re.escape(home)}(?![\w.-])", "~", text)


def folders(settings: Settings | None) -> list[Path]:
    """Where a report may lie, the best place first."""
    folders = [settings.output, settings.cache] if settings else []
    try:
        return [*folders, Path(tempfile.gettempdir())]
    except OSError:  # nothing that serves for temporary files can be written
        return folders
