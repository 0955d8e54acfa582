"""What people see while kmi works, all of it on stderr.

One interface, three renderings: a live line on a terminal, plain lines with a heartbeat elsewhere (a silent job looks
hung), and groups and annotations under GitHub Actions. stdout belongs to machines and is never touched here.
"""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from kmi.host.redact import redact

HEARTBEAT = 30.0
KEPT_LINES = 50
"""How many of the printed lines are kept for a crash report."""

NARROW = str.maketrans({"✓": "+", "✗": "x", "…": "...", "·": "-", "→": "->", "�": "?"})
"""For terminals and logs that are not UTF-8."""

_COMMAND = re.compile(r"^(\s*)(?=::|##\[)", re.MULTILINE)
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """The text without control and bidirectional characters: guests and servers do not steer the terminal."""
    return _UNSAFE.sub("�", text)


def amount(size: float) -> str:
    """Bytes for people: ``396.1 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A stage that has not ended well: it runs still, or it failed (``failed``). Time in seconds."""

    image: str
    name: str
    failed: bool
    seconds: float
    detail: str


class Reporter:
    """Tells what happens. Thread-safe: a line is written whole. What cannot be written (the terminal is gone, the log's
    disk is full) is given up, and the work goes on: nobody loses an image because nobody was looking."""

    def __init__(self, stream: TextIO | None = None, *, github: bool | None = None) -> None:
        self._stream = stream or sys.stderr or io.StringIO()  # None: the file descriptor was closed
        self._narrow = (self._stream.encoding or "utf-8").lower().replace("-", "") != "utf8"
        self._live = self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._colour = self._live and "NO_COLOR" not in os.environ
        self._github = os.environ.get("GITHUB_ACTIONS") == "true" if github is None else github
        self._lock = threading.RLock()
        self._status = ""
        self._steps: list[Step] = []
        self.width = 18  # of the column of images; grows with the longest name
        self._printed: deque[str] = deque(maxlen=KEPT_LINES)

    @property
    def printed(self) -> tuple[str, ...]:
        """The last finished lines."""
        return tuple(self._printed)

    def unfinished(self) -> tuple[Trace, ...]:
        """The stages that run or failed, in the order in which they began."""
        with self._lock:
            return tuple(step.trace() for step in self._steps)

    def line(self, text: str = "") -> None:
        """One finished line. What others wrote into it is no command to GitHub's runner, which obeys a line that begins
        with ``::`` or ``##[`` after any space (actions/runner, ActionCommand.cs)."""
        self._final("", "", _COMMAND.sub(r"\1| ", text) if self._github else text)

    def _command(self, text: str) -> None:
        self._final("", "", text)

    def note(self, text: str) -> None:
        """A remark below the running step."""
        self.line(f"    {text}")

    def warn(self, text: str) -> None:
        if self._github:
            self._command(f"::warning::{_escape(text)}")
        else:
            self.line(f"warning: {text}")

    def error(self, text: str, where: str | None = None) -> None:
        """An error with its facts. Under GitHub Actions also an annotation at ``where`` (``file:line``)."""
        self.annotate(text, where)
        self.line(text)

    def annotate(self, text: str, where: str | None = None) -> None:
        """Under GitHub Actions an annotation at ``where`` (``file:line``), else nothing."""
        if self._github:
            file, _, number = (where or "").rpartition(":")
            at = f" file={_escape_property(file)},line={number}" if file and number.isdigit() else ""
            self._command(f"::error{at}::{_escape(text)}")

    @contextmanager
    def step(self, image: str, name: str) -> Iterator[Step]:
        """A stage that is running; prints its end with the time it took."""
        step = Step(self, image, name)
        self.width = max(self.width, len(image))
        if self._github:
            self._command(f"::group::{image} {name}")
        with self._lock:
            self._steps.append(step)
        step.begin()
        try:
            yield step
        except BaseException:
            step.finish(failed=True)
            raise
        else:
            step.finish(failed=False)
            with self._lock:
                self._steps.remove(step)
        finally:
            if self._github:
                self._command("::endgroup::")

    def _show(self, text: str) -> None:
        """Replace the live line (terminal only)."""
        if not self._live:
            return
        with self._lock:
            self._status = plain(redact(text))[: max(_columns(self._stream) - 1, 20)]
            self._write("\r\x1b[K" + self._status)

    def _clear(self) -> str:
        before, self._status = self._status, ""
        return "\r\x1b[K" if before else ""

    def _final(self, mark: str, code: str, text: str) -> None:
        """A finished line, with a coloured mark before it."""
        shown, text = f"\x1b[{code}m{mark}\x1b[0m" if mark and self._colour else mark, plain(redact(text))
        with self._lock:
            self._printed.extend(f"{mark} {text}".lstrip(" ").splitlines() if mark else text.splitlines())
            self._write(f"{self._clear()}{shown}{' ' if mark else ''}{text}\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text.translate(NARROW) if self._narrow else text)
            self._stream.flush()
        except (OSError, ValueError):
            self._stream, self._live = io.StringIO(), False


class Step:
    """The running stage as its work sees it."""

    def __init__(self, reporter: Reporter, image: str, name: str) -> None:
        self._reporter = reporter
        self._image = image
        self._name = name
        self._began = time.monotonic()
        self._detail: str | Callable[[], str] = ""
        self._outcome = ""
        self._took = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self.reused = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def trace(self) -> Trace:
        return Trace(
            image=self._image, name=self._name, failed=self._stop.is_set(), seconds=self._took or self.seconds,
            detail=self._now(),
        )  # fmt: skip

    def begin(self) -> None:
        if not self._reporter._live:
            self._reporter.line(f"· {self._image:<{self._reporter.width}} {self._name:<10} started")
        self._thread.start()

    def progress(self, done: float, total: float | None, what: str = "") -> None:
        """Bytes of bytes; ``total`` None while it is unknown."""
        part = f"{100 * done / total:3.0f} % of {amount(total)}" if total else amount(done)
        rate = f", {amount(done / self.seconds)}/s" if self.seconds > 1 else ""
        self._detail = f"{what} {part}{rate}".strip()

    def watch(self, file: Path, what: str) -> None:
        """Until the next word: how large ``file`` has grown, for tools that do not tell how far they are."""

        def grown() -> str:
            try:
                return f"{what} {amount(file.stat().st_size)}"
            except OSError:  # not there yet, or no more
                return what

        self._detail = grown

    def count(self, done: int, total: int, what: str) -> None:
        """Item ``done`` of ``total``, for instance packages."""
        self._detail = f"{done} of {total} {what}"

    def detail(self, text: str) -> None:
        """The last line of the running tool's output."""
        self._detail = text.strip()

    def done(self, outcome: str) -> None:
        """What came of it, for the final line."""
        self._outcome = outcome

    def reuse(self, what: str) -> None:
        """Nothing had to be done."""
        self.reused = True
        self._outcome = what

    def note(self, text: str) -> None:
        self._reporter.note(text)

    def finish(self, *, failed: bool) -> None:
        self._took = self.seconds
        self._stop.set()
        self._thread.join()
        mark, code = ("✗", "31") if failed else ("=", "36") if self.reused else ("✓", "32")
        word = "failed" if failed else "reused" if self.reused else duration(self.seconds)
        text = f"{self._image:<{self._reporter.width}} {self._name:<10} {word:>12}  {self._outcome}"
        self._reporter._final(mark, code, text.rstrip())

    def _beat(self) -> None:
        every = 0.2 if self._reporter._live else HEARTBEAT
        while not self._stop.wait(every):
            text = f"{self._image:<{self._reporter.width}} {self._name:<10} {duration(self.seconds):>12}  {self._now()}"
            if self._reporter._live:
                self._reporter._show("… " + text)
            else:
                self._reporter.line("· " + text.rstrip())

    def _now(self) -> str:
        return self._detail if isinstance(self._detail, str) else self._detail()


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 80


def _escape_property(text: str) -> str:
    """Of a command's property (actions/toolkit, command.ts): colon and comma, too."""
    return _escape(text).replace(":", "%3A").replace(",", "%2C")


def _escape(text: str) -> str:
    """GitHub workflow command data (actions/toolkit, command.ts): percent and line breaks are escaped."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
