"""The watch over a connection: every byte that a server sends passes here, header and body, plain or in chunks.

A time-out of the socket bounds one silence and nothing else: a server that sends a byte now and then, or header lines
for ever, would hold kmi as long as it likes.
"""

from __future__ import annotations

import http.client
import io
import math
import time
from dataclasses import dataclass
from typing import Any

HEAD = 256 << 10
"""More bytes than any header (or trailer) has; interim answers (RFC 9110, 15.2) count as well."""


class TooSlow(OSError):
    """A server that was silent, or too slow, or not done in time; its text says which. No TimeoutError, because
    urllib3 replaces the text of one."""


@dataclass(slots=True, kw_only=True)
class Pace:
    """What is demanded now: in every ``window`` seconds of waiting at least ``least`` bytes, a silence no longer than
    the socket's time-out, and all of it before ``deadline`` (on the monotonic clock)."""

    window: float
    least: int
    deadline: float = math.inf


class Response(http.client.HTTPResponse):
    """An answer that is read through a watch."""

    def __init__(self, pace: Pace, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._watch = Watch(self.fp.detach(), pace)
        self.fp: Any = io.BufferedReader(self._watch)

    def begin(self) -> None:
        super().begin()
        self._watch.head = None

    def _read_and_discard_trailer(self) -> None:
        """Trailers (RFC 9112, 7.1.2) may not be longer than a header; the base class reads any number of lines."""
        self._watch.head = 0
        super()._read_and_discard_trailer()  # type: ignore[misc]


class Watch(io.RawIOBase):
    """A socket's raw reader, timed. Only waiting counts: a slow disk here is not the server's fault."""

    def __init__(self, raw: io.RawIOBase, pace: Pace) -> None:
        self._raw = raw
        self._pace = pace
        self._waited = 0.0
        self._came: int | None = None  # since the window began; nothing has come yet: the server may think first
        self.head: int | None = 0  # bytes of the header so far, None when it has ended

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """TooSlow, or what the socket raises."""
        began = time.monotonic()
        if began >= self._pace.deadline:
            raise TooSlow("it was not done in the time that it has")
        try:
            got = self._raw.readinto(buffer) or 0
        except TimeoutError as error:
            raise TooSlow("the server fell silent" if self._came else "the server did not answer") from error
        self._count(got, time.monotonic() - began)
        return int(got)

    def close(self) -> None:
        self._raw.close()
        super().close()

    def _count(self, got: int, seconds: float) -> None:
        if self.head is not None:
            self.head += got
            if self.head > HEAD:
                raise http.client.HTTPException(f"more than {HEAD} bytes of header")
        if self._came is None:
            self._came = got
            return
        self._came += got
        self._waited += seconds
        if got and self._waited >= self._pace.window:
            if self._came < self._pace.least * self._pace.window:
                raise TooSlow(f"too slow: the server sent {self._came} bytes in {self._waited:.1f} seconds")
            self._came, self._waited = 0, 0.0
