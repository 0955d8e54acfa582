"""A port of this machine that leads to a port of the guest, each connection through a stream of its own."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable

from kmi.errors import KmiError
from kmi.host.websockets import Ended, Stream

_PIECE = 1 << 15
_MOST = 8
"""Connections at a time."""
_STALL = 15.0


class Tunnel:
    """Listens on 127.0.0.1 at ``port`` for the time of a block."""

    def __init__(self, connect: Callable[[], Stream]) -> None:
        self._connect = connect
        self._over = threading.Event()
        self._places = threading.BoundedSemaphore(_MOST)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_MOST)
        self._listener.settimeout(0.2)
        self._threads = [threading.Thread(target=self._accept, name="tunnel", daemon=True)]
        self.port = int(self._listener.getsockname()[1])
        self.trouble = ""

    def __enter__(self) -> Tunnel:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        deadline = time.monotonic() + 0.7
        for thread in self._threads:
            thread.join(timeout=max(deadline - time.monotonic(), 0.0))
        self._listener.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            if not self._places.acquire(blocking=False):
                client.close()
                continue
            thread = threading.Thread(target=self._serve, args=(client,), name="tunnel", daemon=True)
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                client.settimeout(_STALL)
                stream = self._connect()
                try:
                    self._relay(client, stream)
                finally:
                    stream.close()
        except (KmiError, Ended, OSError) as error:
            self.trouble = str(error)
        finally:
            self._places.release()

    def _relay(self, client: socket.socket, stream: Stream) -> None:
        """Until one side ends. Ended; OSError."""
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(stream.socket, selectors.EVENT_READ)
            while not self._over.is_set():
                ready = {key.fileobj for key, _ in selector.select(0 if stream.pending else 0.2)}
                if stream.pending or stream.socket in ready:
                    client.sendall(stream.receive(0))
                if client in ready:
                    data = client.recv(_PIECE)
                    if not data:
                        return
                    stream.send(data)
