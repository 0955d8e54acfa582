"""QEMU's own control socket (QEMU: docs/interop/qmp-spec)."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from kmi.errors import BuildError


class Qmp:
    """One connection. Commands are answered in order; events between them are dropped."""

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        """Connect and leave negotiation mode; ``timeout`` in seconds for this and each answer. OSError if nobody
        listens."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._timeout = timeout
        self._buffer = b""
        try:
            self._socket.connect(str(path))
            self._read(time.monotonic() + timeout)  # the greeting
            self.call("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def call(self, command: str, **arguments: Any) -> Any:
        """The command's return value. BuildError if QEMU refuses it, is gone, or does not answer."""
        self._socket.settimeout(self._timeout)
        try:
            self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
            deadline = time.monotonic() + self._timeout
            while True:
                answer = self._read(deadline)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise BuildError(f"QEMU refused {command}", got=answer["error"].get("desc"))
        except OSError as error:
            raise BuildError(f"QEMU did not answer {command}", got=error) from error

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

    def _read(self, deadline: float) -> dict[str, Any]:
        """The next line as JSON. OSError when time is up or the connection ends."""
        while b"\n" not in self._buffer:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.01))
            chunk = self._socket.recv(65536)
            if not chunk:
                raise ConnectionResetError("QEMU closed its control socket")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer
