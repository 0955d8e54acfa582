"""The server's side of a WebSocket (RFC 6455, 4.2 and 5), for tests: handshake and frames, nothing else."""

from __future__ import annotations

import base64
import hashlib
import struct
from http.server import BaseHTTPRequestHandler

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


class Peer:
    """One client after its handshake."""

    def __init__(self, handler: BaseHTTPRequestHandler, protocol: str) -> None:
        key = handler.headers["Sec-WebSocket-Key"].encode()
        accept = base64.b64encode(hashlib.sha1(key + _GUID).digest()).decode()
        handler.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept),
                            ("Sec-WebSocket-Protocol", protocol)):  # fmt: skip
            handler.send_header(name, value)
        handler.end_headers()
        handler.close_connection = True
        self.connection = handler.connection
        self._out = handler.wfile

    def send(self, data: bytes, opcode: int = BINARY, *, announced: int | None = None) -> None:
        """``announced`` is a length that lies."""
        size = len(data) if announced is None else announced
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([size])
        else:
            head += struct.pack("!BH", 126, size) if size < 1 << 16 else struct.pack("!BQ", 127, size)
        self._out.write(head + data)
        self._out.flush()

    def receive(self) -> bytes | None:
        """The next message, None when the client has gone; answers to pings are passed over."""
        head, data = self._frame()
        return self.receive() if head == PONG else data

    def _frame(self) -> tuple[int, bytes | None]:
        head = self._read(2)
        if len(head) < 2 or head[0] & 15 == CLOSE:
            return CLOSE, None
        assert head[1] & 0x80, "a client masks its frames (5.1)"
        size = head[1] & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._read(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._read(8))
        mask, data = self._read(4), self._read(size)
        return head[0] & 15, bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))

    def _read(self, size: int) -> bytes:
        """From the connection itself: behind the request's header the client has sent nothing before the answer."""
        found = b""
        while len(found) < size and (piece := self.connection.recv(size - len(found))):
            found += piece
        return found
