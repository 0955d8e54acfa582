"""A publisher's server on raw sockets, which can break HTTP as no library would.

A path has a file and, for its next requests, scripts; a script writes what it likes. When the scripts are used up the
server is honest: ranges, validators, HEAD.
"""

from __future__ import annotations

import itertools
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MODIFIED = "Mon, 10 Feb 2025 20:19:00 GMT"
LIMIT = 60.0
"""Seconds after which even an endless script ends."""


@dataclass(frozen=True, kw_only=True)
class Served:
    """A file as an honest server has it. Without ``ranges`` Range is ignored."""

    body: bytes
    etag: str | None = '"one"'
    modified: str | None = MODIFIED
    ranges: bool = True

    def validators(self) -> str:
        tag = f"ETag: {self.etag}\r\n" if self.etag else ""
        return tag + (f"Last-Modified: {self.modified}\r\n" if self.modified else "")


@dataclass(kw_only=True)
class Talk:
    """One request and the line back. ``file`` may be replaced, for the requests after this one as well."""

    server: Server
    method: str
    path: str
    fields: Mapping[str, str]
    line: socket.socket
    began: float = field(default_factory=time.monotonic)
    sent: int = 0

    @property
    def file(self) -> Served:
        return self.server.files[self.path]

    @property
    def offset(self) -> int:
        """Where the client wants to go on; 0 without Range."""
        return int(self.fields.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))

    def replace(self, file: Served) -> None:
        self.server.files[self.path] = file

    def send(self, data: bytes | str) -> None:
        raw = data.encode("latin-1") if isinstance(data, str) else data
        self.line.sendall(raw)
        self.sent += len(raw)

    def wait(self, seconds: float) -> None:
        """Say nothing for so long. OSError when the server or the client ends, or after the limit."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            if self.server.closing.wait(min(0.05, until - now)) or now - self.began > LIMIT:
                raise OSError("the test is over")
            if self._gone():
                raise OSError("the client is gone")

    def drip(self, data: bytes, *, piece: int, every: float) -> None:
        for at in range(0, len(data), piece):
            self.send(data[at : at + piece])
            self.wait(every)

    def for_ever(self, data: bytes | str, every: float = 0.0) -> None:
        while time.monotonic() - self.began < LIMIT and not self.server.closing.is_set():
            self.send(data)
            if every:
                self.wait(every)

    def head(self, status: str = "200 OK", *fields: str, length: int | None = None) -> None:
        """Status line and header. Without ``length`` it does not say how long the body is."""
        told = "".join(f"{one}\r\n" for one in fields)
        size = "" if length is None else f"Content-Length: {length}\r\n"
        self.send(f"HTTP/1.1 {status}\r\n{self.file.validators()}{size}{told}\r\n")

    def honest(self) -> None:
        file, start = self.file, self.offset
        current = self.fields.get("if-range") in (None, file.etag, file.modified)
        if start and file.ranges and current:
            if start >= len(file.body):
                self.head("416 Range Not Satisfiable", f"Content-Range: bytes */{len(file.body)}", length=0)
                return
            span = f"Content-Range: bytes {start}-{len(file.body) - 1}/{len(file.body)}"
            self.head("206 Partial Content", span, length=len(file.body) - start)
        else:
            start = 0
            self.head(length=len(file.body))
        if self.method != "HEAD":
            self.send(file.body[start:])

    def _gone(self) -> bool:
        """Whether the client has closed its end."""
        readable, _, _ = select.select([self.line], [], [], 0)
        return bool(readable) and not isinstance(self.line, ssl.SSLSocket) and not self.line.recv(1, socket.MSG_PEEK)


Script = Callable[[Talk], None]


@dataclass(kw_only=True)
class Server:
    """``scripts`` by path are used up one for each GET (HEAD: ``heads``); an Iterator may go on for ever.

    ``log`` has every request: method, path, header fields (names in lower case).
    """

    files: dict[str, Served] = field(default_factory=dict)
    scripts: dict[str, Iterator[Script]] = field(default_factory=dict)
    heads: dict[str, Iterator[Script]] = field(default_factory=dict)
    log: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    tls: ssl.SSLContext | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, path: str, body: bytes, *scripts: Script, **options: Any) -> str:
        """Serve ``body``, after one answer by each of ``scripts``."""
        self.files[path] = Served(body=body, **options)
        self.scripts[path] = iter(scripts)
        return self.url + path

    def always(self, path: str, script: Script) -> str:
        """Answer every GET of a path so; there need be no file."""
        self.files.setdefault(path, Served(body=b""))
        self.scripts[path] = itertools.repeat(script)
        return self.url + path

    def gets(self, path: str) -> list[Mapping[str, str]]:
        return [fields for method, asked, fields in self.log if (method, asked) == ("GET", path)]

    def serve(self, line: socket.socket) -> None:
        try:
            line.settimeout(LIMIT)
            if self.tls:
                line = self.tls.wrap_socket(line, server_side=True)
            talk = self._listen(line)
            scripts = self.heads if talk.method == "HEAD" else self.scripts
            with self.lock:
                self.log.append((talk.method, talk.path, talk.fields))
                script = next(scripts.get(talk.path, iter(())), Talk.honest)
            if talk.path in self.files:
                script(talk)
            else:
                talk.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        except (OSError, ValueError):
            pass  # the client went away, or refused to talk
        finally:
            line.close()

    def _listen(self, line: socket.socket) -> Talk:
        text = b""
        while b"\r\n\r\n" not in text:
            more = line.recv(4096)
            if not more:
                raise OSError("no request")
            text += more
        first, *rest = text.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        method, path, _ = first.split(" ")
        fields = {name.lower(): value.strip() for name, _, value in (row.partition(":") for row in rest)}
        return Talk(server=self, method=method, path=path, fields=fields, line=line)


@contextmanager
def faulty(tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server for the block; at its end every line is cut."""
    server = Server(tls=tls)
    workers: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        server.url = f"http{'s' if tls else ''}://127.0.0.1:{listener.getsockname()[1]}"

        def accept() -> None:
            while not server.closing.is_set():
                try:
                    line, _ = listener.accept()
                except TimeoutError:
                    continue
                workers.append(threading.Thread(target=server.serve, args=(line,), daemon=True))
                workers[-1].start()

        loop = threading.Thread(target=accept, daemon=True)
        loop.start()
        try:
            yield server
        finally:
            server.closing.set()
            for thread in (loop, *workers):
                thread.join(10)


def cut(at: int) -> Script:
    """The right answer, until the line is cut after so many bytes of body."""

    def script(talk: Talk) -> None:
        start = talk.offset
        if start:
            end = len(talk.file.body)
            talk.head("206 Partial Content", f"Content-Range: bytes {start}-{end - 1}/{end}", length=end - start)
        else:
            talk.head(length=len(talk.file.body))
        talk.send(talk.file.body[start : start + at])

    return script


def stall(at: int, seconds: float = LIMIT) -> Script:
    """So many bytes of body, and then silence with the line held."""

    def script(talk: Talk) -> None:
        cut(at)(talk)
        talk.wait(seconds)

    return script


def drip(piece: int, every: float) -> Script:
    """``piece`` bytes ``every`` so many seconds, never silent for long."""

    def script(talk: Talk) -> None:
        start = talk.offset
        cut(0)(talk)
        talk.drip(talk.file.body[start:], piece=piece, every=every)

    return script


def status(line: str, *fields: str) -> Script:
    return lambda talk: talk.head(line, *fields, length=0)


def redirect(to: str, code: str = "302 Found") -> Script:
    return status(code, f"Location: {to}")


def body(data: bytes, *fields: str) -> Script:
    """Another body, honestly sent."""

    def script(talk: Talk) -> None:
        talk.head("200 OK", *fields, length=len(data))
        talk.send(data)

    return script


def raw(data: bytes | str, hold: float = 0.0) -> Script:
    """These very bytes, instead of HTTP or as a broken kind of it."""

    def script(talk: Talk) -> None:
        talk.send(data)
        if hold:
            talk.wait(hold)

    return script


def lengths(*told: str, hold: float = 0.0) -> Script:
    """The whole file, with these values of Content-Length."""

    def script(talk: Talk) -> None:
        talk.head("200 OK", *(f"Content-Length: {one}" for one in told))
        talk.send(talk.file.body)
        if hold:
            talk.wait(hold)

    return script


def chunks(*pieces: bytes) -> Script:
    """Transfer-Encoding: chunked, and then these bytes as they are."""

    def script(talk: Talk) -> None:
        talk.head("200 OK", "Transfer-Encoding: chunked")
        for piece in pieces:
            talk.send(piece)

    return script


def endless(start: str, more: bytes, every: float = 0.0) -> Script:
    """``start`` once and ``more`` for ever."""

    def script(talk: Talk) -> None:
        talk.send(start)
        talk.for_ever(more, every)

    return script


def swapped(then: Served, at: int) -> Script:
    """A cut answer, after which the file is another one."""

    def script(talk: Talk) -> None:
        cut(at)(talk)
        talk.replace(then)

    return script


def certificate(folder: Path, host: str) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that it signed itself."""
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", "key.pem", "-out", "cert.pem", "-days", "1", "-subj", f"/CN={host}",
             "-addext", f"subjectAltName={host}"]  # fmt: skip
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
