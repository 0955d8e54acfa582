"""The only importer of requests: one request and its answer, on a connection of its own.

So what a server sends beyond its answer is not taken for the next one. Nothing is decoded: a body is what was served.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from kmi import __version__
from kmi.errors import NetworkError
from kmi.host import failures, headers, route
from kmi.host.failures import Transient
from kmi.host.pace import Pace, Response
from kmi.host.patience import Patience
from kmi.host.tls import Tls

CHUNK = 1 << 18


class Answer:
    """A status and header fields, and the body as it comes. ``at`` is where the redirects led."""

    def __init__(self, url: str, at: str, response: requests.Response) -> None:
        self.url = url
        self.at = at
        self.status = response.status_code
        self.reason = response.reason or ""
        self.fields: Mapping[str, str] = response.headers
        self._raw = response.raw

    @property
    def length(self) -> int | None:
        """The body's announced size in bytes; in chunks it has none, whatever the header says (RFC 9112, 6.3)."""
        return None if self._raw.chunked else headers.length(self.fields)

    def body(self) -> Iterator[bytes]:
        """In pieces, each as soon as it comes, so that a cut loses nothing. Transient if it ends early."""
        came = 0
        try:
            while chunk := self._raw.read1(CHUNK, decode_content=False):
                came += len(chunk)
                yield chunk
        except (urllib3.exceptions.HTTPError, OSError) as error:
            if type(failures.cause(error)).__name__ == "IncompleteRead":  # urllib3 and http.client have one each
                raise Transient(failures.cut(self.url, self.at, came, self.length)) from error
            raise Transient(failures.broken(self.url, self.at, error)) from error


class Wire:
    """A session that watches its connections, keeps no cookies, and of itself sends nobody any credentials: requests
    would take ~/.netrc for every host, also after a redirect."""

    def __init__(self, patience: Patience, tls: Tls | None = None) -> None:
        self._timeout = (patience.connect, patience.stall)
        self._tls = tls or Tls()
        if not self._tls.verify:  # who chose that was told; urllib3 would say it with every request
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._pace = Pace(window=patience.stall, least=patience.least)
        self._session = _Session()
        self._session.headers.update({"User-Agent": f"kmi/{__version__}", "Accept-Encoding": "identity"})
        self._session.auth = lambda request: request
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(self._pace))

    def close(self) -> None:
        self._session.close()

    def allow(self, seconds: float) -> None:
        """From now on everything must be done within ``seconds``."""
        self._pace.deadline = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds of that."""
        return self._pace.deadline - time.monotonic()

    @contextmanager
    def answer(
        self, method: str, url: str, first: str, asked: Mapping[str, str], also: tuple[int, ...] = ()
    ) -> Iterator[Answer]:
        """What ``first``, which stands for ``url``, answers with status 200 (or one of ``also``) after its redirects.
        Transient; NetworkError for what no other attempt will cure."""
        at, plain = first, route.plain(url, first)
        for _ in range(route.REDIRECTS):
            route.require(url, at, plain=plain)
            with self._ask(method, url, at, asked, route.credentials(first, at)) as response:
                if response.is_redirect:
                    at = route.target(at, response.headers["Location"])
                    continue
                answer = Answer(url, at, response)
                if answer.status != 200 and answer.status not in also:
                    raise failures.refusal(url, at, answer.status, answer.reason, answer.fields)
                yield answer
                return
        limit = f"at most {route.REDIRECTS} redirects"
        raise NetworkError(f"cannot fetch {url}", expected=limit, got="more", where=route.shown(at))

    @contextmanager
    def exchange(self, method: str, url: str, asked: Mapping[str, str], sent: bytes | None = None) -> Iterator[Answer]:
        """The answer to one request, whatever its status: for a server that is spoken to, not fetched from. No redirect
        is followed, no login added to ``asked``. Transient; NetworkError for what no other attempt will cure."""
        with self._ask(method, url, url, asked, None, sent) as response:
            yield Answer(url, url, response)

    @contextmanager
    def _ask(
        self,
        method: str,
        url: str,
        at: str,
        asked: Mapping[str, str],
        login: tuple[str, str] | None,
        sent: bytes | None = None,
    ) -> Iterator[requests.Response]:
        options: dict[str, Any] = {"stream": True, "allow_redirects": False, "timeout": self._timeout, "data": sent}
        options |= {"verify": self._tls.believed, "cert": self._tls.shown}
        try:
            response = self._session.request(method, at, headers=dict(asked), auth=login, **options)
        except (requests.ConnectionError, requests.Timeout) as error:
            final = failures.untrusted(url, at, error)
            raise final or Transient(failures.broken(url, at, error, _hint(error))) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise failures.broken(url, at, error) from error  # a URL, a proxy or a CA bundle that cannot be used
        try:
            with response:
                yield response
        finally:
            self._session.close()


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: ``answer`` follows redirects. requests would read a redirect's whole body for the next request."""


class _Adapter(HTTPAdapter):
    """requests' adapter, whose connections (direct or by way of a proxy) read their answers as ``Response``."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        self._watch(manager)
        return manager

    def _watch(self, manager: Any) -> None:
        pools = {"http": urllib3.HTTPConnectionPool, "https": urllib3.HTTPSConnectionPool}
        manager.pool_classes_by_scheme = {scheme: _watched(pool, self._pace) for scheme, pool in pools.items()}


def _watched(pool: Any, pace: Pace) -> type:
    """The pool's class, with connections whose answers are read through the watch."""
    response = staticmethod(partial(Response, pace))
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": response})
    return type("Pool", (pool,), {"ConnectionCls": connection})


def _hint(error: BaseException) -> str | None:
    proxied = isinstance(error, requests.exceptions.ProxyError)
    return "the proxy is set in the environment (http_proxy, https_proxy, no_proxy)" if proxied else None
