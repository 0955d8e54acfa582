"""A client of the QEMU guest agent (QEMU: docs/interop/qemu-ga-ref, qga/qapi-schema.json)."""

from __future__ import annotations

import base64
import itertools
import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SENTINEL = b"\xff"
"""Never part of JSON: makes the agent forget a half-sent request, and marks where its answer to a sync begins."""

LIMIT = 1024**2
"""Bytes of one answer. What kmi asks for takes some 10 KiB."""

_WORD = 200
"""Characters of a name or an address, the guest's own."""

_IDS = itertools.count(int(time.time()) & 0xFFFFFF)


class AgentError(Exception):
    """No usable answer: nobody there, no answer in time, or a refusal (then ``refused``)."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInfo:
    """The agent's version and the commands it has enabled."""

    version: str
    commands: frozenset[str]


class Agent:
    """Each call opens the channel, synchronises, asks once and closes it: the channel has room for one client."""

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        """``path`` is QEMU's end of the channel ``org.qemu.guest_agent.0``; ``timeout`` in seconds for a whole call."""
        self._path = path
        self._timeout = timeout

    def call(self, command: str, *, answers: bool = True, **arguments: Any) -> Any:
        """The command's return value. AgentError."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            deadline = time.monotonic() + self._timeout
            answer: dict[str, Any] = {"return": None}
            try:
                channel.settimeout(self._timeout)  # a QEMU that hangs takes no connection
                channel.connect(str(self._path))
                stream = _Stream(channel, deadline)
                self._synchronise(stream)
                stream.send({"execute": command, "arguments": arguments})
                if answers:
                    answer = stream.line()
            except (OSError, ValueError, RecursionError) as error:
                raise AgentError(f"the guest agent does not answer {command}: {error}") from error
        if "return" not in answer:
            refusal = answer.get("error")
            text = refusal.get("desc") if isinstance(refusal, dict) else "an answer without meaning"
            raise AgentError(f"the guest agent refuses {command}: {str(text)[:200]}", refused=True)
        return answer["return"]

    def ping(self) -> bool:
        """Whether the agent answers at all."""
        try:
            self.call("guest-ping")
        except AgentError:
            return False
        return True

    def info(self) -> AgentInfo:
        found = self.call("guest-info")
        with _sensible("guest-info"):
            names = (str(entry["name"]) for entry in found["supported_commands"] if entry.get("enabled", True))
            return AgentInfo(version=str(found["version"]), commands=frozenset(names))

    def system(self) -> str:
        """The operating system's name as it gives it (guest-get-osinfo), empty if it gives none."""
        found = self.call("guest-get-osinfo")
        with _sensible("guest-get-osinfo"):
            return str(found.get("pretty-name", ""))

    def osinfo(self) -> dict[str, str]:
        """guest-get-osinfo: ``id``, ``version-id``, ``name``, ``machine`` and others, as far as the guest has them."""
        found = self.call("guest-get-osinfo")
        with _sensible("guest-get-osinfo"):
            return {str(name): str(value)[:_WORD] for name, value in found.items()}

    def addresses(self) -> dict[str, tuple[str, ...]]:
        """The IP addresses of each network interface, by its name (guest-network-get-interfaces)."""
        found = self.call("guest-network-get-interfaces")
        with _sensible("guest-network-get-interfaces"):
            return {
                str(one["name"])[:_WORD]: tuple(str(row["ip-address"])[:_WORD] for row in one.get("ip-addresses", []))
                for one in found
            }

    def keys(self, user: str) -> tuple[str, ...]:
        """The lines of the user's authorized_keys that the agent gives (guest-ssh-get-authorized-keys)."""
        found = self.call("guest-ssh-get-authorized-keys", username=user)
        with _sensible("guest-ssh-get-authorized-keys"):
            return tuple(str(line) for line in found["keys"])

    def add_key(self, user: str, key: str) -> None:
        self.call("guest-ssh-add-authorized-keys", username=user, keys=[key])

    def remove_key(self, user: str, key: str) -> None:
        self.call("guest-ssh-remove-authorized-keys", username=user, keys=[key])

    def reboot(self) -> None:
        """Ask for a reboot. AgentError only where the agent denies it: it does not answer this one when it works."""
        try:
            self.call("guest-shutdown", mode="reboot")
        except AgentError as error:
            if error.refused:
                raise

    def exec(self, argv: Sequence[str], *, seconds: float = 60.0) -> tuple[int, str]:
        """Run a program in the guest as root: its exit status and output (both streams). AgentError also when the
        agent does not allow it or the program is not done after ``seconds``."""
        arguments: dict[str, Any] = {"path": argv[0], "arg": list(argv[1:]), "capture-output": True}
        started = self.call("guest-exec", **arguments)
        with _sensible("guest-exec"):
            pid = int(started["pid"])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = self.call("guest-exec-status", pid=pid)
            with _sensible("guest-exec-status"):
                if state["exited"]:
                    data = b"".join(base64.b64decode(state.get(name, "")) for name in ("out-data", "err-data"))
                    return int(state.get("exitcode", -int(state.get("signal", 1)))), data.decode(errors="replace")
            time.sleep(0.5)
        raise AgentError(f"{argv[0]} is not done after {seconds:g} s")

    def powerdown(self) -> None:
        """Ask for a shutdown. The agent does not answer this one when it works (guest-shutdown, "success-response")."""
        self.call("guest-shutdown", answers=False, mode="powerdown")

    def _synchronise(self, stream: _Stream) -> None:
        """guest-sync-delimited: skip answers to what earlier connections asked, up to our own number."""
        number = next(_IDS)
        stream.send({"execute": "guest-sync-delimited", "arguments": {"id": number}}, before=_SENTINEL)
        while True:
            stream.skip_past(_SENTINEL)
            if stream.line().get("return") == number:
                return


@contextmanager
def _sensible(command: str) -> Iterator[None]:
    """The agent is the guest's: an answer of another shape than documented is an AgentError."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise AgentError(f"the guest agent answers {command} in a form that makes no sense") from error


class _Stream:
    """JSON lines over the channel until ``deadline``. OSError when time is up, ValueError for what is not JSON."""

    def __init__(self, channel: socket.socket, deadline: float) -> None:
        self._channel = channel
        self._deadline = deadline
        self._buffer = bytearray()

    def send(self, message: dict[str, Any], *, before: bytes = b"") -> None:
        self._channel.settimeout(max(self._deadline - time.monotonic(), 0.01))
        self._channel.sendall(before + json.dumps(message).encode() + b"\n")

    def line(self) -> dict[str, Any]:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > LIMIT:
                raise ValueError(f"more than {LIMIT} bytes in one answer")
            self._fill()
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        message = json.loads(line.lstrip(_SENTINEL))
        if not isinstance(message, dict):
            raise ValueError(f"not an object: {bytes(line[:80])!r}")
        return message

    def skip_past(self, mark: bytes) -> None:
        while mark not in self._buffer:
            self._buffer.clear()
            self._fill()
        self._buffer = self._buffer.partition(mark)[2]

    def _fill(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no time left")
        self._channel.settimeout(left)
        chunk = self._channel.recv(65536)
        if not chunk:
            raise ConnectionResetError("QEMU closed the channel")
        self._buffer += chunk
