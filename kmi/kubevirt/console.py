"""Keeps what a guest writes to its serial console, which the cluster shows only while somebody is connected."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from kmi.errors import KmiError
from kmi.host.websockets import Ended, Stream

LIMIT = 9 << 20
"""Bytes that are kept; ``kmi.boot.console`` gives a guest up before."""
NUDGE = 20.0
"""Seconds of silence after which Enter is pressed, each time twice as many: a login prompt that came before kmi was
connected is only shown again for that."""
_AGAIN = 2.0


class Recorder:
    """Writes the console to ``log`` on a thread of its own, and connects again when it is cut."""

    def __init__(
        self, connect: Callable[[], Stream], log: Path, *, again: float = _AGAIN, nudge: float = NUDGE
    ) -> None:
        self._connect = connect
        self._log = log
        self._again = again
        self._nudge = nudge
        self._size = 0
        self._over = threading.Event()
        self._quiet = threading.Event()
        self._thread = threading.Thread(target=self._run, name="console", daemon=True)
        self.trouble = ""

    def __enter__(self) -> Recorder:
        self._log.touch()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=0.7)

    def hush(self) -> None:
        """Press no more keys: the prompt is there."""
        self._quiet.set()

    def _run(self) -> None:
        while not self._over.is_set() and self._size < LIMIT:
            try:
                stream = self._connect()
            except KmiError as error:
                self.trouble = f"{error.what}: {error.got}"
            else:
                try:
                    self._record(stream)
                except Ended as error:
                    self.trouble = str(error)
                except OSError as error:  # the disk is full
                    self.trouble = str(error)
                    return
                finally:
                    stream.close()
            self._over.wait(self._again)

    def _record(self, stream: Stream) -> None:
        """Ended."""
        heard = time.monotonic()
        with self._log.open("ab", buffering=0) as file:
            while not self._over.is_set() and self._size < LIMIT:
                if data := stream.receive(0.2)[: LIMIT - self._size]:
                    self._size += file.write(data)
                    heard = time.monotonic()
                elif time.monotonic() - heard > self._nudge and not self._quiet.is_set():
                    stream.send(b"\r")
                    heard, self._nudge = time.monotonic(), self._nudge * 2
