"""Documents within a limit, and files that survive a cut connection, from servers that fail.

Three loops: the servers that stand for a URL, attempts at one of them, and the pieces of one file.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from kmi.errors import KmiError, NetworkError, VerificationError
from kmi.host import failures, headers, route
from kmi.host.answers import Document, Head
from kmi.host.failures import Transient, within
from kmi.host.partial import Partial
from kmi.host.patience import Patience
from kmi.host.wire import Answer, Wire
from kmi.model.digest import Digest
from kmi.settings import Settings, ways

DOCUMENT_LIMIT = 8 << 20
_ADVANCE = 1 << 20
"""So many new bytes, and the count of failures begins anew."""

Progress = Callable[[int, int | None], None]
Digests = Mapping[str, Digest]
T = TypeVar("T")


class Http:
    """A client with the site's mirrors, which are tried in order. Not shared between threads."""

    def __init__(self, *, mirrors: tuple[tuple[str, str], ...] = (), patience: Patience | None = None) -> None:
        self._mirrors = mirrors
        self._patience = patience or Patience()
        self._wire = Wire(self._patience)

    @classmethod
    def of(cls, settings: Settings) -> Http:
        return cls(mirrors=settings.mirrors, patience=Patience.of(settings.patience))

    def close(self) -> None:
        self._wire.close()

    def get(self, url: str, *, limit: int = DOCUMENT_LIMIT) -> Document:
        """A document of at most ``limit`` bytes. NetworkError if it does not come or is larger."""

        def once(first: str) -> Document:
            with self._wire.answer("GET", url, first, {}) as answer:
                _not_encoded(answer)
                body = bytearray()
                for chunk in answer.body():
                    body += chunk
                    within(url, len(body), limit)
                return Document(body=bytes(body), last_modified=headers.modified(answer.fields))

        return self._each(url, lambda first: self._persist(lambda: once(first), self._patience.document))

    def head(self, url: str) -> Head:
        """Size and date of a file. NetworkError if it is not there."""

        def once(first: str) -> Head:
            with self._wire.answer("HEAD", url, first, {}) as answer:
                size, modified = headers.length(answer.fields), headers.modified(answer.fields)
                return Head(size=size, last_modified=modified, at=answer.at)

        return self._each(url, lambda first: self._persist(lambda: once(first), self._patience.document))

    def download(
        self,
        url: str,
        dest: Path,
        *,
        algorithms: Sequence[str],
        size_cap: int,
        check: Callable[[Digests], None] = lambda _: None,
        on_progress: Progress | None = None,
    ) -> dict[str, Digest]:
        """Fetch ``url`` into the partial file ``dest`` and return its digests, one for each algorithm.

        ``dest`` and its validator stay when the transfer fails, and a later call (of any process) goes on from there
        with Range and If-Range (RFC 9110, 13.1.5 and 14.2); a server that ignores the range or has another file starts
        it afresh. ``check`` judges the digests: where it raises VerificationError, a file that came in pieces is
        fetched once more in one (a server may have two files under one name), then the next mirror is asked; no byte
        stays. NetworkError if it does not come or is larger than ``size_cap`` bytes; HostError if the disk is full.
        """
        with Partial(dest, algorithms) as partial:

            def proved(first: str) -> dict[str, Digest]:
                self._persist(
                    lambda: self._transfer(url, first, partial, size_cap, on_progress),
                    self._patience.overall,
                    gained=lambda: partial.offset,
                )
                digests = partial.digests()
                try:
                    check(digests)
                except VerificationError:
                    pieced = partial.pieced
                    partial.restart(None)
                    if not pieced or first in again:
                        raise
                    again.append(first)
                    return proved(first)
                return digests

            again: list[str] = []
            return self._each(url, proved)

    def _transfer(self, url: str, first: str, partial: Partial, size_cap: int, on_progress: Progress | None) -> None:
        """One attempt: from where the partial file ends to the end of the file."""
        asked = {}
        if partial.offset and partial.validator:
            asked = {"Range": f"bytes={partial.offset}-", "If-Range": partial.validator}
        with self._wire.answer("GET", url, first, asked, also=(206, 416)) as answer:
            if _begin(answer, partial):
                _append(answer, partial, size_cap, on_progress)

    def _each(self, url: str, fetch: Callable[[str], T]) -> T:
        """What the first of the servers that stand for ``url`` has; the error of all of them if none has it."""
        failed: list[tuple[str, KmiError]] = []
        for first in ways(url, self._mirrors):
            try:
                return fetch(first)
            except (NetworkError, VerificationError) as error:
                failed.append((first, error))
        raise failures.everywhere(url, failed) from failed[-1][1].__cause__

    def _persist(self, once: Callable[[], T], seconds: float, gained: Callable[[], int] = lambda: 0) -> T:
        """Repeat ``once`` while its failures are transient, for ``seconds`` at most. A mebibyte more (``gained``)
        makes the count start anew."""
        self._wire.allow(seconds)
        failed, mark = 0, gained()
        while True:
            try:
                return once()
            except Transient as transient:
                failed = 1 if gained() - mark >= _ADVANCE else failed + 1
                mark = max(mark, gained())
                pause = self._pause(failed, transient.wait)
                if failed >= self._patience.attempts or pause >= self._wire.left:
                    raise transient.error from transient
                time.sleep(pause)

    def _pause(self, failed: int, asked: float | None) -> float:
        if asked is not None:
            return min(max(asked, 0.0), self._patience.longest)
        longest: float = min(self._patience.pause * 2.0 ** (failed - 1), self._patience.longest)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter, not a secret


def _begin(answer: Answer, partial: Partial) -> bool:
    """Make the partial file ready for the answer's body: as it is, or empty. False if nothing is missing. Transient if
    the answer is neither the file nor its rest."""
    if answer.status == 416 and headers.total(answer.fields) == partial.offset:
        partial.pieced = True  # everything had come before the last process ended
        return False
    if answer.status == 206 and headers.continues(answer.fields, partial.offset, partial.validator):
        partial.pieced = True
        return True
    if answer.status == 200:
        partial.restart(headers.validator(answer.fields))
        return True
    partial.restart(None)
    expected = "the file from its start or where it was cut"
    raise Transient(failures.unlike(answer.url, answer.at, f"{answer.status} {answer.reason}", expected), wait=0)


def _append(answer: Answer, partial: Partial, size_cap: int, on_progress: Progress | None) -> None:
    """Write the body. What is too large is not kept: it would only fill the disk."""
    length = answer.length
    total = None if length is None else partial.offset + length
    try:
        within(answer.url, total or 0, size_cap)
        for chunk in answer.body():
            partial.write(chunk)
            within(answer.url, partial.offset, size_cap)
            if on_progress:
                on_progress(partial.offset, total)
    except NetworkError:
        partial.restart(None)
        raise


def _not_encoded(answer: Answer) -> None:
    """Some servers label a .gz file so, and mean the file; anything else would have to be unpacked unproved."""
    coding = answer.fields.get("Content-Encoding", "identity")
    if coding.lower() != "identity" and not answer.url.endswith((".gz", ".xz", ".bz2", ".zst")):
        raise NetworkError(
            f"{answer.url} came compressed",
            expected="the document as it is: no compression was asked for",
            got=f"Content-Encoding: {coding[:80]}",
            where=route.shown(answer.at),
        )
