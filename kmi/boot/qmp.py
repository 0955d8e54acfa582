"""QEMU's own control socket (QEMU: docs/interop/qmp-spec, qapi/run-state.json). QEMU talks to one client at a time."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from kmi.errors import BuildError
from kmi.host.ui import plain

LIMIT = 1 << 20
"""Bytes of one message. QEMU's longest, the greeting and ``info usernet``, have a few hundred."""

_DRAIN_SECONDS = 1.0
_WORD = 40


class Qmp:
    """One connection, which may be kept: of the events that come between answers only the end of the guest and
    its resets are remembered. Threads may share it."""

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        """Connect and leave negotiation mode; ``timeout`` in seconds for this and each answer. OSError if nobody
        listens, BuildError if QEMU does not take to it."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._timeout = timeout
        self._buffer = b""
        self._number = 0
        self._reason: str | None = None
        self._resets = 0
        self._lock = threading.Lock()
        try:
            self._socket.settimeout(timeout)
            self._socket.connect(str(path))
            self._read(time.monotonic() + timeout)  # the greeting
            self.call("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def call(self, command: str, **arguments: Any) -> Any:
        """The command's return value. BuildError if QEMU refuses it, is gone, or does not answer."""
        with self._lock:
            self._number += 1
            message = {"execute": command, "arguments": arguments, "id": self._number}
            try:
                self._socket.settimeout(self._timeout)
                self._socket.sendall(json.dumps(message).encode() + b"\n")
                answer = self._answer(self._number)
            except OSError as error:
                raise BuildError(f"QEMU did not answer {command}", got=error) from error
        if "return" in answer:
            return answer["return"]
        refusal = answer["error"]
        words = refusal.get("desc") if isinstance(refusal, dict) else refusal
        raise BuildError(f"QEMU refused {command}", got=plain(str(words)))

    def reason(self) -> str | None:
        """Why the guest ended, in QEMU's word (``guest-shutdown``, ``guest-reset``, ``host-signal``, ...); None as long
        as QEMU has not told. What QEMU told before it went is still there. Does not wait."""
        with self._lock:
            until = time.monotonic() + _DRAIN_SECONDS
            try:
                while time.monotonic() < until:
                    self._read(0.0)
            except OSError:
                pass  # nothing more has come, or nothing more can
            return self._reason

    def resets(self) -> int:
        """How often the guest has reset its machine since this connection was made. Does not wait."""
        self.reason()
        return self._resets

    def hostfwd(self) -> int:
        """The loopback port that QEMU forwards into the guest (slirp: ``info usernet``)."""
        table = str(self.call("human-monitor-command", **{"command-line": "info usernet"}))
        for line in table.splitlines():
            words = line.split()
            if words and words[0] == "TCP[HOST_FORWARD]":
                return int(words[3])
        raise BuildError("QEMU forwards no port into the guest", got=table)

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Qmp:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _answer(self, number: int) -> dict[str, Any]:
        """The answer to this command: that to one which nobody waits for any more may come before it."""
        deadline = time.monotonic() + self._timeout
        while True:
            message = self._read(deadline)
            if message.get("id") == number and ("return" in message or "error" in message):
                return message

    def _read(self, deadline: float) -> dict[str, Any]:
        """The next message. OSError when time is up, the connection ends, or what came is no message."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > LIMIT:
                raise ConnectionAbortedError(f"QEMU's message has more than {LIMIT} bytes")
            self._buffer += self._receive(deadline)
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConnectionAbortedError("QEMU's message is no JSON") from error
        if not isinstance(message, dict):
            raise ConnectionAbortedError("QEMU's message is no JSON object")
        self._note(message)
        return message

    def _receive(self, deadline: float) -> bytes:
        self._socket.settimeout(max(deadline - time.monotonic(), 0.0))
        try:
            chunk = self._socket.recv(65536)
        except BlockingIOError as error:
            raise TimeoutError("timed out") from error
        if not chunk:
            raise ConnectionResetError("QEMU closed its control socket")
        return chunk

    def _note(self, message: dict[str, Any]) -> None:
        """An event SHUTDOWN comes when the guest ended, and right before QEMU does; RESET when the machine starts over
        (qapi/run-state.json)."""
        data = message.get("data")
        if not isinstance(data, dict):
            return
        if message.get("event") == "SHUTDOWN" and self._reason is None:
            self._reason = plain(str(data.get("reason")))[:_WORD]
        if message.get("event") == "RESET" and data.get("guest") is True:
            self._resets += 1
