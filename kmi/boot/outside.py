"""A server on the host's side, so that a guest has something to connect to where there is no network."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

_HOSTS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_TRIES = 20


class Outside:
    """Answers every TCP connection to ``port``, by IPv4 and where the host has it by IPv6, with one HTTP response whose
    body is ``nonce``. QEMU's user network leads the guest's connections to its gateway to the host's loopback."""

    def __init__(self, nonce: str) -> None:
        self.nonce = nonce
        self.port = 0
        self.families: tuple[int, ...] = ()
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Outside:
        """OSError if the loopback has no port to give."""
        for left in reversed(range(_TRIES)):
            try:
                self._listen()
                break
            except OSError:
                self._close()
                if not left:
                    raise
        for one in self._sockets:
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def _listen(self) -> None:
        """The same port for both families; a host without IPv6 listens by IPv4 alone."""
        for family, host in _HOSTS:
            one = socket.socket(family, socket.SOCK_STREAM)
            self._sockets.append(one)
            try:
                one.bind((host, self.port))
            except OSError:
                if family == socket.AF_INET6 and not _has_ipv6():
                    self._sockets.pop().close()
                    break
                raise
            one.listen()
            self.port = one.getsockname()[1]
        self.families = tuple(one.family for one in self._sockets)

    def _serve(self, listening: socket.socket) -> None:
        body = f"{self.nonce}\n".encode()
        head = f"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # closed
            with connection:
                connection.settimeout(10)
                try:
                    connection.recv(65536)
                    connection.sendall(head + body)
                except OSError:
                    pass  # the guest went away

    def _close(self) -> None:
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept
            except OSError:
                pass
            one.close()
        self._sockets, self.port = [], 0


def _has_ipv6() -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as one:
        try:
            one.bind(("::1", 0))
        except OSError:
            return False
    return True
