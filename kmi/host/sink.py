"""What a program prints: its whole text for kmi to read on, its last lines, and a log without secrets."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from kmi.host import redact

TAIL_LINES = 25


class Sink:
    """Collects one stream: whole text, the last lines, the log file, the line callback."""

    def __init__(self, log: Path | None, on_line: Callable[[str], None] | None, secrets: Sequence[str]) -> None:
        self._parts: list[str] = []
        self._last: deque[str] = deque(maxlen=TAIL_LINES)
        self._on_line = on_line
        self._secrets = tuple(secret for secret in secrets if secret)
        self._lock = threading.Lock()
        if log:
            log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log.open("a", encoding="utf-8", errors="replace") if log else None
        self.failed: OSError | None = None
        """Why the log could not be written, if it could not."""

    def note(self, line: str) -> None:
        self._write(line + "\n")

    def feed(self, chunk: str) -> None:
        self._parts.append(chunk)  # what kmi reads on is data, and stays as it came
        text = blanked(chunk, self._secrets)
        self._write(text)
        line = text.rstrip("\r\n").split("\r")[-1]
        if line.strip():
            self._last.append(line)
            if self._on_line:
                self._on_line(line)

    def _write(self, text: str) -> None:
        with self._lock:
            if self._log and not self._log.closed:
                try:
                    self._log.write(blanked(text, self._secrets))
                    self._log.flush()
                except OSError as error:  # in a thread where nobody would hear of it
                    self.failed, log, self._log = error, self._log, None
                    with suppress(OSError):
                        log.close()

    def text(self) -> str:
        return "".join(self._parts)

    def tail(self) -> list[str]:
        return list(self._last)

    def close(self) -> None:
        with self._lock:
            if self._log:
                self._log.close()


def blanked(text: str, secrets: Sequence[str]) -> str:
    """The text without these secrets and those that ``redact`` knows."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, redact.MARK)
    return redact.redact(text)
