"""A name server for tests: it knows every name, so that looking one up proves something without any network."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HOST = "127.53.53.53"
"""Loopback, and nobody else's: resolv.conf(5) cannot name a port, and 127.0.0.1 port 53 may be taken."""
ANSWER = "192.0.2.80"
_A, _IN = 1, 1


def reply(query: bytes) -> bytes:
    """ANSWER for a question of type A, and no record for any other one (RFC 1035, 4.1). ValueError if it is none."""
    number, _, questions, *_ = struct.unpack(">6H", query[:12]) if len(query) > 12 else (0, 0, 0)
    end = query.find(b"\0", 12) + 5
    if questions != 1 or end < 17 or len(query) < end:
        raise ValueError("not one question")
    kind, family = struct.unpack(">2H", query[end - 4 : end])
    known = (kind, family) == (_A, _IN)
    head = struct.pack(">6H", number, 0x8180, 1, int(known), 0, 0)  # answer, recursion desired and available
    record = struct.pack(">3HIH", 0xC00C, _A, _IN, 60, 4) + socket.inet_aton(ANSWER)  # the name is at offset 12
    return head + query[12:end] + (record if known else b"")


@contextmanager
def resolver(host: str = HOST, port: int = 53) -> Iterator[list[bytes]]:
    """Answers UDP queries for the block; the list has every query."""
    seen: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((host, port))
        server.settimeout(0.2)
        closing = threading.Event()

        def serve() -> None:
            while not closing.is_set():
                try:
                    query, client = server.recvfrom(4096)
                    seen.append(query)
                    server.sendto(reply(query), client)
                except (TimeoutError, ValueError):
                    continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            closing.set()
            thread.join(5)
