"""A proxy before a real registry that fails as told: by method, path and which match of them.

It stands on a free loopback port, hands every request on with the host that the client asked for (so the registry's
redirects and upload locations lead back here), and keeps what came. The registry behind it stores what really arrived.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

from tests.answering import answering

NOWHERE = "sha256:" + "0" * 64
STATUSES = {
    "401": {"WWW-Authenticate": 'Basic realm="registry"'},
    "403": {},
    "404": {},
    "429": {"Retry-After": "1"},
    "500": {},
    "502": {},
    "503": {},
    "507": {},
}
CODES = {"401": "UNAUTHORIZED", "403": "DENIED", "429": "TOOMANYREQUESTS", "507": "UNKNOWN"}
"""distribution-spec, "Error Codes"; ``UNKNOWN`` with "no space left on device" is what docker-registry says itself."""
KINDS = (*STATUSES, "drop", "cut", "half", "hang", "digest", "lie")
"""A status; the connection closed before the request is handed on; after it; in the middle of the answer; no answer
at all; another ``Docker-Content-Digest``; 201 and nothing stored."""


@dataclass(kw_only=True)
class Rule:
    """``kind`` for the requests of ``method`` whose path matches, from the ``first`` match on, ``times`` of them (None:
    all). Both are regular expressions, for the whole word and for any part of the path and query; ``agent`` is one for
    any part of the client's name (cosign, skopeo)."""

    kind: str
    method: str
    path: str = ""
    agent: str = ""
    first: int = 1
    times: int | None = None
    seen: int = 0
    hit: int = 0

    def strikes(self, method: str, path: str, agent: str) -> bool:
        if not (re.fullmatch(self.method, method) and re.search(self.path, path) and re.search(self.agent, agent)):
            return False
        self.seen += 1
        due = self.seen >= self.first and (self.times is None or self.hit < self.times)
        self.hit += due
        return due


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request, the status that was sent for it (0: none), and the fault that struck it."""

    method: str
    path: str
    status: int
    kind: str | None
    authorization: str | None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request, as a guard sees it."""

    method: str
    path: str
    authorization: str
    body: bytes


@dataclass(kw_only=True)
class Faulty:
    """The proxy in a test's hands: ``rules`` are looked at in order, ``guard`` may turn a request down first."""

    behind: str
    address: str = ""
    rules: list[Rule] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    guard: Callable[[Asked], tuple[int, dict[str, str], bytes] | None] = lambda _: None
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(
        self, kind: str, method: str, path: str = "", *, agent: str = "", first: int = 1, times: int | None = None
    ) -> Rule:
        assert kind in KINDS
        rule = Rule(kind=kind, method=method, path=path, agent=agent, first=first, times=times)
        self.rules.append(rule)
        return rule

    def heal(self) -> None:
        self.rules.clear()

    def asked(self, method: str, path: str = "") -> int:
        """How many such requests came."""
        return sum(bool(re.fullmatch(method, one.method) and re.search(path, one.path)) for one in self.seen)

    def kind(self, method: str, path: str, agent: str) -> str | None:
        with self.lock:
            return next((rule.kind for rule in self.rules if rule.strikes(method, path, agent)), None)


@contextmanager
def faulty(behind: str) -> Iterator[Faulty]:
    """A proxy before the registry at ``behind`` (``host:port``), for the block."""
    proxy = Faulty(behind=behind)

    class Handler(_Handler):
        world = proxy

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.address = f"127.0.0.1:{server.server_port}"
    with answering(server):
        try:
            yield proxy
        finally:
            proxy.over.set()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is gone: they end in the middle, by a fault or because they are done."""


class Tokens:
    """A guard that speaks the token protocol of registries (distribution, docs/spec/auth: token.md and oauth.md):
    anybody may read, who has the login may write. ``refresh`` is the identity token that stands for the login."""

    def __init__(self, proxy: Faulty, user: str, password: str, refresh: str) -> None:
        self._realm = f"http://{proxy.address}/token"
        self._basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self._refresh = refresh
        self.reader, self.writer = secrets.token_hex(24), secrets.token_hex(24)

    def __call__(self, asked: Asked) -> tuple[int, dict[str, str], bytes] | None:
        if asked.path.startswith("/token"):
            return self._issue(asked)
        may = {f"Bearer {self.writer}"} | ({f"Bearer {self.reader}"} if asked.method in ("GET", "HEAD") else set())
        if asked.authorization in may:
            return None
        scope = re.sub(r"^/v2/(.*?)/(?:manifests|blobs|referrers|tags)/.*", r"repository:\1:pull,push", asked.path)
        challenge = f'Bearer realm="{self._realm}",service="tests"' + (f',scope="{scope}"' if ":" in scope else "")
        return 401, {"WWW-Authenticate": challenge}, b'{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}'

    def _issue(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        form = parse_qs(asked.body.decode())
        if asked.authorization == self._basic or form.get("refresh_token") == [self._refresh]:
            token = self.writer
        elif asked.authorization or form:
            return 401, {}, b'{"errors":[{"code":"UNAUTHORIZED","message":"wrong"}]}'
        else:
            token = self.reader
        answer = {"token": token, "access_token": token, "expires_in": 300}
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


class _Handler(BaseHTTPRequestHandler):
    world: Faulty
    protocol_version = "HTTP/1.1"
    timeout = 120

    def log_message(self, *words: object) -> None:
        pass

    def _answer(self) -> None:
        body = self._body()
        authorization = self.headers.get("Authorization", "")
        refused = self.world.guard(Asked(method=self.command, path=self.path, authorization=authorization, body=body))
        if refused:
            return self._send(*refused)
        kind = self.world.kind(self.command, self.path, self.headers.get("User-Agent", ""))
        if kind in STATUSES:
            code = CODES.get(kind, "UNKNOWN")
            said = "no space left on device" if kind == "507" else f"a fault: {kind}"
            return self._send(int(kind), STATUSES[kind], b'{"errors":[{"code":"%s","message":"%s"}]}'
                              % (code.encode(), said.encode()), kind)  # fmt: skip
        if kind in ("drop", "hang"):
            if kind == "hang":
                self.world.over.wait(600)
            return self._close(kind)
        if kind == "lie":
            where = self.path.partition("?")[0]
            return self._send(201, {"Location": where, "Docker-Content-Digest": self._named()}, b"", kind)
        status, headers, answer = self._forward(body)
        if kind == "digest":
            headers = {**headers, "Docker-Content-Digest": NOWHERE}
        if kind == "cut":
            return self._close(kind)
        return self._send(status, headers, answer, kind)

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = _answer

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _named(self) -> str:
        """The digest that the request itself names."""
        found = re.search(r"sha256(?::|%3A)([0-9a-f]{64})", self.path)
        return f"sha256:{found[1]}" if found else NOWHERE

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.world.behind, timeout=60)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():  # one by one: a client sends several of Accept
                if name.lower() not in _HOP:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            answer = response.read()
            kept = {name: value for name, value in response.getheaders() if name.lower() not in _HOP}
            return response.status, kept, answer
        finally:
            connection.close()

    def _send(self, status: int, headers: dict[str, str], body: bytes, kind: str | None = None) -> None:
        self._note(status, kind)
        self.send_response(status)
        length = headers.pop("Content-Length", None) if self.command == "HEAD" else None
        for name, value in headers.items():
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if kind == "half" else body)
        if kind == "half":
            self.close_connection = True

    def _close(self, kind: str) -> None:
        self._note(0, kind)
        self.close_connection = True

    def _note(self, status: int, kind: str | None) -> None:
        with self.world.lock:
            self.world.seen.append(
                Seen(
                    method=self.command, path=self.path, status=status, kind=kind,
                    authorization=self.headers.get("Authorization"),
                )
            )  # fmt: skip


_HOP = {"connection", "transfer-encoding", "keep-alive", "te", "trailer", "upgrade", "content-length"}
