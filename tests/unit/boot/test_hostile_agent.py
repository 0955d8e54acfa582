"""Whatever a guest's agent sends, the client ends in time, in bounded memory, with an answer or an AgentError."""

from __future__ import annotations

import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import repeat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmi.boot import agent as module
from kmi.boot.agent import Agent, AgentError
from kmi.boot.qmp import Qmp

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
BLOCK = b"x" * 65536
Answer = Callable[[socket.socket], None]


@contextmanager
def guest(path: Path, answer: Answer, *, sync: Answer | None = None) -> Iterator[None]:
    """Answers a sync as it should (or with ``sync``), and every other request with ``answer``."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            try:
                with connection, connection.makefile("rb") as lines:
                    for raw in lines:
                        message = json.loads(raw.lstrip(b"\xff"))
                        if message["execute"] == "guest-sync-delimited" and not sync:
                            number = message["arguments"]["id"]
                            connection.sendall(b"\xff" + json.dumps({"return": number}).encode() + b"\n")
                        else:
                            answer(connection)
            except OSError:
                pass  # the client hung up, as it should

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)
        path.unlink()


def flood(blocks: Iterator[bytes]) -> Answer:
    def answer(connection: socket.socket) -> None:
        for block in blocks:
            connection.sendall(block)

    return answer


@pytest.mark.parametrize(
    "blocks",
    [
        pytest.param(repeat(BLOCK), id="never a newline"),
        pytest.param(iter([b'{"return": ' + b"[" * 500_000 + b"\n"]), id="nested deep"),
        pytest.param(iter([b"\x00\xfe\xfd\n"]), id="no text"),
        pytest.param(iter([b"[]\n"]), id="no object"),
        pytest.param(iter([b'{"error": "x"}\n']), id="an error without words"),
        pytest.param(iter([b'{"return": ' + b"9" * 10_000 + b"}\n"]), id="a number of ten thousand digits"),
    ],
)
def test_garbage_is_an_error_in_bounded_memory(tmp_path: Path, blocks: Iterator[bytes]) -> None:
    with guest(tmp_path / "s", flood(blocks)):
        tracemalloc.start()
        try:
            with pytest.raises(AgentError):
                Agent(tmp_path / "s", timeout=10).call("guest-info")
            assert tracemalloc.get_traced_memory()[1] < 16 * module.LIMIT
        finally:
            tracemalloc.stop()


def test_answers_to_other_requests_for_ever_end_in_time(tmp_path: Path) -> None:
    others = flood(repeat(b'\xff{"return": "another"}\n' * 4096))
    began = time.monotonic()
    with guest(tmp_path / "s", others, sync=others), pytest.raises(AgentError, match="does not answer"):
        Agent(tmp_path / "s", timeout=1).call("guest-info")
    assert time.monotonic() - began < 5


@settings(deadline=None, max_examples=60)
@given(value=JSON)
def test_an_answer_of_any_shape_is_used_or_refused(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("agent") / "s"
    line = json.dumps({"return": value}).encode() + b"\n"
    with guest(path, lambda connection: connection.sendall(line)):
        agent = Agent(path, timeout=2)
        for ask in (agent.info, agent.system, lambda: agent.exec(["true"], seconds=0.01)):
            try:
                ask()
            except AgentError:
                pass


def test_a_channel_that_takes_no_more_connections_is_not_waited_for(tmp_path):
    """QEMU hangs: its listening socket is full (unix(7): connect blocks)."""
    path = tmp_path / "qga.sock"
    with socket.socket(socket.AF_UNIX) as server, ExitStack() as stack:
        server.bind(str(path))
        server.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(path))
        began = time.monotonic()
        with pytest.raises(AgentError, match="does not answer guest-ping"):
            Agent(path, timeout=0.2).call("guest-ping")
        with pytest.raises(OSError):
            Qmp(path, timeout=0.2)
        assert time.monotonic() - began < 10
