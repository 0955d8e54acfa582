"""The only importer of websocket: a stream of bytes over one WebSocket (RFC 6455), in binary messages.

One thread owns a stream: OpenSSL's connections are not for two at a time.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

import websocket

from kmi.errors import NetworkError
from kmi.host import redact
from kmi.host.tls import Tls

FRAME = 4 << 20
"""Bytes; more than any relay of a console or a TCP connection puts into one frame."""


class Ended(Exception):
    """The stream is over; the text says how it ended."""


class Refused(NetworkError):
    """The server answered the handshake with a status of its own. ``body`` is the begin of its text."""

    def __init__(self, what: str, *, status: int, body: str, where: str) -> None:
        super().__init__(what, expected="status 101", got=f"status {status}: {body}" if body else status, where=where)
        self.status = status
        self.body = body


class Stream:
    """An open stream. Made by ``connect``."""

    def __init__(self, connection: _Bounded, seconds: float) -> None:
        self._connection = connection
        self._seconds = seconds
        self._whole = time.monotonic()

    @property
    def socket(self) -> socket.socket:
        """To wait for, together with others; ``pending`` tells what is there already. Ended."""
        if self._connection.sock is None:
            raise Ended("closed")
        found: socket.socket = self._connection.sock
        return found

    @property
    def pending(self) -> bool:
        """Whether something was decrypted that nobody has read: the socket itself is silent then."""
        return isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0

    def receive(self, seconds: float) -> bytes:
        """What came within ``seconds``, empty if nothing did. Ended."""
        if not self.pending:
            with selectors.DefaultSelector() as selector:
                selector.register(self.socket, selectors.EVENT_READ)
                if not selector.select(seconds):
                    return self._nothing()
        try:
            self._connection.settimeout(_LOOK)
            opcode, frame = self._connection.recv_data_frame(control_frame=True)
        except websocket.WebSocketTimeoutException:  # TLS had something to say of its own, or half a frame came
            return self._nothing()
        except (websocket.WebSocketException, OSError, ValueError) as error:
            raise Ended(_said(error)) from error
        self._whole = time.monotonic()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise Ended("the server closed it")
        return bytes(frame.data) if opcode in _DATA else b""

    def _nothing(self) -> bytes:
        """Empty, as long as that is no silence in the midst of a frame: websocket-client goes on where it was."""
        now = time.monotonic()
        if not self._connection.within_frame:
            self._whole = now
        elif now - self._whole > self._seconds:
            raise Ended("the server fell silent within a frame")
        return b""

    def send(self, data: bytes) -> None:
        """Ended."""
        try:
            self._connection.settimeout(self._seconds)
            self._connection.send_binary(data)
        except (websocket.WebSocketException, OSError) as error:
            raise Ended(_said(error)) from error

    def close(self) -> None:
        """At once, without waiting for the server's word."""
        self._connection.shutdown()  # type: ignore[no-untyped-call]


def connect(
    url: str, *, headers: Mapping[str, str], protocols: Sequence[str], tls: Tls, seconds: float = 15.0
) -> Stream:
    """Open ``url`` (wss, or ws); ``seconds`` bound each silence of the server. No redirect is followed: ``headers`` are
    for this server alone. Refused; NetworkError."""
    try:
        connection = websocket.create_connection(
            url,
            timeout=seconds,
            class_=_Bounded,
            header=[f"{name}: {value}" for name, value in headers.items()],
            subprotocols=list(protocols),
            sslopt={"context": tls.context()},
            suppress_origin=True,
            redirect_limit=0,
            fire_cont_frame=True,
            skip_utf8_validation=True,
        )
    except websocket.WebSocketBadStatusException as error:
        body = (error.resp_body or b"")[:_TOLD].decode(errors="replace")
        raise Refused("the server opens no stream", status=error.status_code, body=body, where=url) from error
    except (websocket.WebSocketException, OSError, ValueError) as error:
        raise NetworkError("cannot open a stream", got=_said(error), where=url) from error
    assert isinstance(connection, _Bounded)
    return Stream(connection, seconds)


_TOLD = 2000
_LOOK = 0.2
"""Seconds that a readable socket may take to give something: what is readable need be no data (TLS 1.3 tickets)."""
_DATA = (websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_CONT)


class _Bounded(websocket.WebSocket):
    """websocket-client keeps a frame of any announced length in memory; this one gives it up at ``FRAME``."""

    _came = 0

    @property
    def within_frame(self) -> bool:
        return self._came > 0

    def recv_frame(self) -> Any:
        frame = super().recv_frame()  # type: ignore[no-untyped-call]
        self._came = 0
        return frame

    def _recv(self, bufsize: int) -> Any:
        data = super()._recv(bufsize)  # type: ignore[no-untyped-call]
        self._came += len(data)
        if self._came > FRAME:
            raise websocket.WebSocketProtocolException(f"a frame of more than {FRAME} bytes")
        return data


def _said(error: BaseException) -> str:
    return redact.redact(f"{type(error).__name__}: {error}")[:300]
