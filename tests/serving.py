"""A publisher's web server for tests, on loopback, which misbehaves as it is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.answering import answering


@dataclass(kw_only=True)
class File:
    """What is served. Without ``ranges`` a Range header is ignored; without validators nothing can be resumed."""

    body: bytes
    etag: str | None = '"one"'
    modified: str | None = "Mon, 10 Feb 2025 20:19:00 GMT"
    ranges: bool = True


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with one GET: a status, a body cut after so many bytes, a redirect, a file put in place after."""

    status: int | None = None
    cut: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    then: File | None = None
    chunked: bool = False
    ignore_if_range: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    sent: int


class Upstream:
    """``files`` by path; ``faults`` by path, used up one for each GET; ``requests`` as they came."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.requests: list[Request] = []
        self.url = ""

    def put(self, path: str, body: bytes, *faults: Fault, **options: object) -> str:
        self.files[path] = File(body=body, **options)  # type: ignore[arg-type]
        self.faults[path] = list(faults)
        return self.url + path

    def gets(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.method == "GET" and request.path == path]


@contextmanager
def serving() -> Iterator[Upstream]:
    upstream = Upstream()

    class Handler(_Handler):
        world = upstream

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    upstream.url = f"http://127.0.0.1:{server.server_port}"
    with answering(server):
        yield upstream


class _Handler(BaseHTTPRequestHandler):
    world: Upstream
    protocol_version = "HTTP/1.1"
    timeout = 5

    def log_message(self, *words: object) -> None:
        pass

    def do_HEAD(self) -> None:
        file = self.world.files.get(self.path)
        self._note(0)
        self._start(200 if file else 404, file, {"Content-Length": str(len(file.body) if file else 0)})

    def do_GET(self) -> None:
        self.close_connection = True
        faults = self.world.faults.get(self.path, [])
        fault = faults.pop(0) if faults else Fault()
        file = self.world.files.get(self.path)
        status, body, headers = self._plan(file, fault)
        sent = body if fault.cut is None else body[: fault.cut]
        self._note(len(sent))
        if fault.then:
            self.world.files[self.path] = fault.then
        length = {"Transfer-Encoding": "chunked"} if fault.chunked else {"Content-Length": str(len(body))}
        self._start(status, file, {**length, "Connection": "close", **headers, **fault.headers})
        if fault.chunked:
            self._chunks(sent, whole=fault.cut is None)
        else:
            self.wfile.write(sent)

    def _plan(self, file: File | None, fault: Fault) -> tuple[int, bytes, dict[str, str]]:
        if fault.status:
            return fault.status, b"", {}
        if file is None:
            return 404, b"no such file", {}
        wanted = self.headers.get("Range", "")
        condition = self.headers.get("If-Range")
        current = condition in (None, file.etag, file.modified) or fault.ignore_if_range
        if not (file.ranges and wanted and current):
            return 200, file.body, {}
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(file.body):
            return 416, b"", {"Content-Range": f"bytes */{len(file.body)}"}
        return 206, file.body[start:], {"Content-Range": f"bytes {start}-{len(file.body) - 1}/{len(file.body)}"}

    def _start(self, status: int, file: File | None, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        if file and file.etag:
            self.send_header("ETag", file.etag)
        if file and file.modified:
            self.send_header("Last-Modified", file.modified)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _chunks(self, body: bytes, *, whole: bool) -> None:
        for at in range(0, len(body), 10_000):
            piece = body[at : at + 10_000]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if whole:
            self.wfile.write(b"0\r\n\r\n")

    def _note(self, sent: int) -> None:
        request = Request(method=self.command, path=self.path, headers=dict(self.headers.items()), sent=sent)
        self.world.requests.append(request)
