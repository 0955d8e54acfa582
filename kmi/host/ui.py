"""What people see while kmi works, all of it on stderr.

One interface, three renderings: a live line on a terminal, plain lines with a heartbeat elsewhere (a silent job looks
hung), and groups and annotations under GitHub Actions. stdout belongs to machines and is never touched here.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

HEARTBEAT = 30.0
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


class Reporter:
    """Tells what happens. Thread-safe; ``prefix`` names the image when several are built at once."""

    def __init__(self, stream: TextIO | None = None, *, github: bool | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._colour = self._live and "NO_COLOR" not in os.environ
        self._github = os.environ.get("GITHUB_ACTIONS") == "true" if github is None else github
        self._lock = threading.RLock()
        self._status = ""

    def line(self, text: str = "") -> None:
        """One finished line."""
        with self._lock:
            self._clear()
            self._stream.write(plain(text) + "\n")
            self._stream.flush()

    def note(self, text: str) -> None:
        """A remark below the running step."""
        self.line(f"    {text}")

    def warn(self, text: str) -> None:
        if self._github:
            self.line(f"::warning::{_escape(text)}")
        else:
            self.line(f"warning: {text}")

    def error(self, text: str, where: str | None = None) -> None:
        """An error with its facts. Under GitHub Actions also an annotation at ``where`` (``file:line``)."""
        if self._github:
            file, _, number = (where or "").rpartition(":")
            at = f" file={file},line={number}" if file and number.isdigit() else ""
            self.line(f"::error{at}::{_escape(text)}")
        self.line(text)

    @contextmanager
    def step(self, image: str, name: str) -> Iterator[Step]:
        """A stage that is running; prints its end with the time it took."""
        step = Step(self, image, name)
        if self._github:
            self.line(f"::group::{image} {name}")
        step.begin()
        try:
            yield step
        except BaseException:
            step.finish(failed=True)
            raise
        else:
            step.finish(failed=False)
        finally:
            if self._github:
                self.line("::endgroup::")

    def _show(self, text: str) -> None:
        """Replace the live line (terminal only)."""
        if not self._live:
            return
        with self._lock:
            width = os.get_terminal_size(self._stream.fileno()).columns
            self._status = plain(text)[: max(width - 1, 20)]
            self._stream.write("\r\x1b[K" + self._status)
            self._stream.flush()

    def _clear(self) -> None:
        if self._status:
            self._stream.write("\r\x1b[K")
            self._status = ""

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _final(self, mark: str, code: str, text: str) -> None:
        with self._lock:
            self._clear()
            self._stream.write(f"{self._paint(code, mark)} {plain(text)}\n")
            self._stream.flush()


class Step:
    """The running stage as its work sees it."""

    def __init__(self, reporter: Reporter, image: str, name: str) -> None:
        self._reporter = reporter
        self._image = image
        self._name = name
        self._began = time.monotonic()
        self._detail: str | Callable[[], str] = ""
        self._outcome = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self.reused = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def begin(self) -> None:
        if not self._reporter._live:
            self._reporter.line(f"· {self._image:<18} {self._name:<10} started")
        self._thread.start()

    def progress(self, done: float, total: float | None, what: str = "") -> None:
        """Bytes of bytes; ``total`` None while it is unknown."""
        part = f"{100 * done / total:3.0f} % of {amount(total)}" if total else amount(done)
        rate = f", {amount(done / self.seconds)}/s" if self.seconds > 1 else ""
        self._detail = f"{what} {part}{rate}".strip()

    def watch(self, file: Path, what: str) -> None:
        """Until the next word: how large ``file`` has grown, for tools that do not tell how far they are."""
        self._detail = lambda: f"{what} {amount(file.stat().st_size)}" if file.exists() else what

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
        self._stop.set()
        self._thread.join()
        mark, code = ("✗", "31") if failed else ("=", "36") if self.reused else ("✓", "32")
        word = "failed" if failed else "reused" if self.reused else duration(self.seconds)
        text = f"{self._image:<18} {self._name:<10} {word:>12}  {self._outcome}"
        self._reporter._final(mark, code, text.rstrip())

    def _beat(self) -> None:
        every = 0.2 if self._reporter._live else HEARTBEAT
        while not self._stop.wait(every):
            detail = self._detail if isinstance(self._detail, str) else self._detail()
            text = f"{self._image:<18} {self._name:<10} {duration(self.seconds):>12}  {detail}"
            if self._reporter._live:
                self._reporter._show("… " + text)
            else:
                self._reporter.line("· " + text.rstrip())


def _escape(text: str) -> str:
    """GitHub workflow command data (actions/toolkit, command.ts): percent and line breaks are escaped."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
