"""The only importer of requests: documents within a limit, and files that survive a cut connection.

urllib3's own retries end where the body begins, so both loops are here. Plain http is followed only where the caller
(or the site's mirror setting) asked for plain http; a redirect from https to it is refused.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from kmi import __version__
from kmi.errors import NetworkError
from kmi.host import headers
from kmi.host.answers import Document, Head
from kmi.host.partial import Partial
from kmi.model.digest import Digest
from kmi.settings import mapped

CHUNK = 1 << 18
REDIRECTS = 10
DOCUMENT_LIMIT = 8 << 20
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that may be better a moment later; any other refusal (404, 403) is final."""

Progress = Callable[[int, int | None], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait. ``connect`` and ``stall`` (no byte at all) in seconds; ``attempts`` counts failures in a row;
    the n-th pause is ``pause`` doubled n times, jittered; a server's Retry-After counts up to ``longest``."""

    connect: float = 15.0
    stall: float = 30.0
    attempts: int = 5
    pause: float = 1.0
    longest: float = 120.0


class _Transient(Exception):
    """A failure that another attempt may cure; ``wait`` is what the server asked for, in seconds."""

    def __init__(self, error: NetworkError, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait = wait


class Http:
    """A client with the site's mirrors. Not shared between threads: a requests session is not made for that."""

    def __init__(self, *, mirrors: tuple[tuple[str, str], ...] = (), patience: Patience | None = None) -> None:
        self._mirrors = mirrors
        self._patience = patience or Patience()
        self._session = requests.Session()
        # The body is hashed as it is served, so no transfer compression is asked for.
        self._session.headers.update({"User-Agent": f"kmi/{__version__}", "Accept-Encoding": "identity"})

    def close(self) -> None:
        self._session.close()

    def get(self, url: str, *, limit: int = DOCUMENT_LIMIT) -> Document:
        """A document of at most ``limit`` bytes. NetworkError if it does not come or is larger."""

        def once() -> Document:
            with self._answer("GET", url, {}) as response:
                body = bytearray()
                for chunk in _body(response, url, expected=headers.length(response.headers), decode=True):
                    body += chunk
                    _within(url, len(body), limit)
                return Document(
                    url=url,
                    body=bytes(body),
                    last_modified=headers.modified(response.headers),
                    etag=response.headers.get("ETag"),
                )

        return self._persist(once)

    def head(self, url: str) -> Head:
        """Size and dates of a file. NetworkError if it is not there."""

        def once() -> Head:
            with self._answer("HEAD", url, {}) as response:
                return Head(
                    url=url,
                    size=headers.length(response.headers),
                    last_modified=headers.modified(response.headers),
                    etag=response.headers.get("ETag"),
                )

        return self._persist(once)

    def download(
        self,
        url: str,
        dest: Path,
        *,
        algorithms: Sequence[str],
        size_cap: int,
        on_progress: Progress | None = None,
    ) -> dict[str, Digest]:
        """Fetch ``url`` into the partial file ``dest`` and return its digests, one for each algorithm.

        ``dest`` and its validator stay when this fails, and a later call (of any process) goes on from there with
        Range and If-Range (RFC 9110, 13.1.5 and 14.2); a server that ignores the range or has another file starts it
        afresh. Nothing is proved here: the caller compares the digests. NetworkError if it does not come or is larger
        than ``size_cap`` bytes; HostError if the disk is full.
        """
        with Partial(dest, algorithms) as partial:
            self._persist(lambda: self._transfer(url, partial, size_cap, on_progress), gained=lambda: partial.offset)
            return partial.digests()

    def _transfer(self, url: str, partial: Partial, size_cap: int, on_progress: Progress | None) -> None:
        """One attempt: from where the partial file ends to the end of the file."""
        asked = {}
        if partial.offset and partial.validator:
            asked = {"Range": f"bytes={partial.offset}-", "If-Range": partial.validator}
        with self._answer("GET", url, asked, also=(206, 416)) as response:
            if response.status_code == 416 and headers.total(response.headers) == partial.offset:
                return  # everything had come before the last process ended
            if not _continues(response, partial):
                if response.status_code != 200:
                    partial.restart(None)
                    raise _Transient(_unlike(url, response, "the file from its start or where it was cut"), wait=0)
                partial.restart(headers.validator(response.headers))
            length = headers.length(response.headers)
            total = None if length is None else partial.offset + length
            _within(url, total or 0, size_cap)
            for chunk in _body(response, url, expected=length, decode=False):
                partial.write(chunk)
                _within(url, partial.offset, size_cap)
                if on_progress:
                    on_progress(partial.offset, total)

    def _persist(self, once: Callable[[], T], gained: Callable[[], int] = lambda: 0) -> T:
        """Repeat ``once`` while its failures are transient. A mebibyte more (``gained``) makes the count start anew."""
        failures, mark = 0, gained()
        while True:
            try:
                return once()
            except _Transient as transient:
                failures = 1 if gained() - mark >= 1 << 20 else failures + 1
                mark = max(mark, gained())
                if failures >= self._patience.attempts:
                    raise transient.error from transient
                time.sleep(self._pause(failures, transient.wait))

    def _pause(self, failures: int, asked: float | None) -> float:
        if asked is not None:
            return min(max(asked, 0.0), self._patience.longest)
        longest: float = min(self._patience.pause * 2.0 ** (failures - 1), self._patience.longest)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 -- jitter, not a secret

    @contextmanager
    def _answer(
        self, method: str, url: str, asked: dict[str, str], also: tuple[int, ...] = ()
    ) -> Iterator[requests.Response]:
        """An answer with status 200 (or one of ``also``) after its redirects, its body not yet read."""
        at = mapped(url, self._mirrors)
        plain = url.startswith("http://") or at.startswith("http://")
        for _ in range(REDIRECTS):
            _allowed(url, at, plain)
            with self._ask(method, url, at, asked) as response:
                if response.is_redirect:
                    at = _target(at, response.headers["Location"])
                    continue
                if response.status_code != 200 and response.status_code not in also:
                    raise _refusal(url, response)
                yield response
                return
        raise NetworkError(f"cannot fetch {url}", expected=f"at most {REDIRECTS} redirects", got="more", where=at)

    def _ask(self, method: str, url: str, at: str, asked: dict[str, str]) -> requests.Response:
        patience = self._patience
        try:
            return self._session.request(
                method,
                at,
                headers=asked,
                stream=True,
                allow_redirects=False,
                timeout=(patience.connect, patience.stall),
            )
        except requests.exceptions.SSLError as error:
            raise NetworkError(
                f"cannot fetch {url}",
                expected="a certificate that this system trusts",
                got=_reason(error),
                where=at,
                hint="a site with its own authority names its bundle in REQUESTS_CA_BUNDLE",
            ) from error
        except (requests.ConnectionError, requests.Timeout) as error:
            raise _Transient(_broken(url, at, error)) from error
        except (requests.RequestException, UnicodeError) as error:  # a URL that cannot be asked for
            raise _broken(url, at, error) from error


def _body(response: requests.Response, url: str, *, expected: int | None, decode: bool) -> Iterator[bytes]:
    """The body in pieces, each as soon as it comes, so that a cut loses nothing. _Transient if it ends early."""
    raw, seen = response.raw, 0
    encoded = decode and "Content-Encoding" in response.headers
    try:
        if raw.chunked or encoded:
            yield from raw.stream(CHUNK, decode_content=decode)
            return
        while chunk := raw.read1(CHUNK, decode_content=False):
            seen += len(chunk)
            yield chunk
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _Transient(_broken(url, response.url, error)) from error
    if expected is not None and seen < expected:
        raise _Transient(
            NetworkError(f"{url} was cut", expected=f"{expected} bytes", got=f"{seen} bytes", where=response.url)
        )


def _continues(response: requests.Response, partial: Partial) -> bool:
    """Whether the answer goes on exactly where the partial file ends, and is still the same file."""
    at_end = partial.offset > 0 and headers.start(response.headers) == partial.offset
    return response.status_code == 206 and at_end and headers.same_version(response.headers, partial.validator)


def _target(at: str, location: str) -> str:
    """Where a redirect leads; a malformed one as it stands, for ``_allowed`` to refuse."""
    try:
        return urljoin(at, location)
    except ValueError:
        return location


def _allowed(url: str, at: str, plain: bool) -> None:
    try:
        scheme = urlsplit(at).scheme
    except ValueError:
        scheme = ""
    if scheme == "https" or (scheme == "http" and plain):
        return
    raise NetworkError(
        f"cannot fetch {url}",
        expected="https all the way",
        got=f"{scheme or 'no scheme'}: {at}",
        where=at,
        hint="a plain http server is used only where the manifest or `mirrors` in kmi.toml names it",
    )


def _refusal(url: str, response: requests.Response) -> Exception:
    error = _unlike(url, response, "status 200")
    if response.status_code in TRANSIENT:
        return _Transient(error, headers.retry_after(response.headers))
    return error


def _unlike(url: str, response: requests.Response, expected: str) -> NetworkError:
    status = response.status_code
    hint = {404: "the publisher may have moved it", 403: "the server forbids it; a mirror may not"}.get(status)
    got = f"status {status} {response.reason or ''}".rstrip()
    return NetworkError(f"cannot fetch {url}", expected=expected, got=got, where=response.url, hint=hint)


def _broken(url: str, at: str, error: Exception) -> NetworkError:
    hint = "another server can be named under `mirrors` in kmi.toml"
    return NetworkError(f"cannot fetch {url}", got=_reason(error), where=at, hint=hint)


def _reason(error: BaseException) -> str:
    """The innermost cause: the outer ones repeat it between the representations of objects."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return _reason(inner)
    nested = [arg for arg in error.args if isinstance(arg, BaseException)]
    return _reason(nested[-1]) if nested else f"{type(error).__name__}: {error}"


def _within(url: str, size: int, limit: int) -> None:
    if size > limit:
        raise NetworkError(
            f"{url} is too large", expected=f"at most {limit} bytes", got=f"{size} bytes or more", where=url
        )
