"""Console and forwarded port over WebSockets of a simulated cluster."""

from __future__ import annotations

import ast
import socket
import socketserver
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmi.errors import NetworkError
from kmi.host import websockets
from kmi.host.websockets import Ended, Refused, Stream
from kmi.kubevirt import console
from kmi.kubevirt.console import Recorder
from kmi.kubevirt.resources import Resources
from kmi.kubevirt.tunnel import Tunnel
from tests import kubevirt_api
from tests.answering import answering
from tests.kubevirt_api import TOKEN, Simulated, waited
from tests.websocket_server import Peer

PACKAGE = Path(__file__).parents[3] / "kmi"


@pytest.fixture
def guest(cluster: Simulated) -> str:
    """A machine that runs, and its name."""
    cluster.objects["x"] = {"metadata": {"name": "x", "uid": "1", "labels": {}}}
    cluster.looks["x"] = 9
    return "x"


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1 << 16):
            self.request.sendall(data)


@pytest.fixture
def echo(cluster: Simulated) -> Iterator[None]:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), _Echo)
    cluster.target = server.server_address[1]
    with answering(server):
        yield


def read(stream: Stream, seconds: float = 5.0) -> bytes:
    deadline, found = time.monotonic() + seconds, b""
    while not found and time.monotonic() < deadline:
        found = stream.receive(0.2)
    return found


def test_one_module_imports_the_library() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {path.name for name in names if name.split(".")[0] == "websocket"}
    assert found == {"websockets.py"}


def test_a_console_says_and_hears(cluster: Simulated, resources: Resources, guest: str) -> None:
    stream = resources.stream(guest, "console")
    assert read(stream) == cluster.console
    stream.send(b"\r")
    assert read(stream) == cluster.entered
    assert stream.receive(0.05) == b""
    stream.close()
    with pytest.raises(Ended):
        stream.receive(0.05)


def test_a_stream_is_refused_with_the_server_s_words(cluster: Simulated, resources: Resources, guest: str) -> None:
    cluster.looks["x"] = 0
    with pytest.raises(Refused, match="opens no stream") as caught:
        resources.stream(guest, "console")
    assert caught.value.status == 400 and "not Running" in caught.value.body
    cluster.token = "another"
    with pytest.raises(Refused) as caught:
        resources.stream(guest, "console")
    assert caught.value.status == 401 and TOKEN not in str(caught.value)


def test_a_redirect_gets_no_token(cluster: Simulated, resources: Resources, guest: str) -> None:
    cluster.faults.statuses["GET console"] = [302]
    with pytest.raises(NetworkError):
        resources.stream(guest, "console")
    assert len(cluster.asked) == 1


def test_a_frame_without_end_is_given_up(cluster: Simulated, resources: Resources, guest: str) -> None:
    cluster.faults.huge_frame = True
    stream = resources.stream(guest, "console")
    with pytest.raises(Ended, match="a frame of more than"):
        read(stream)
    stream.close()


def test_a_frame_that_is_never_finished_ends_and_its_parts_are_not_lost_meanwhile(
    cluster: Simulated, resources: Resources, guest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def console(handler: object, peer: Peer) -> None:
        peer.send(b"begin", announced=9)
        time.sleep(0.6)
        peer._out.write(b" end")
        peer.send(b"half", announced=8)
        cluster.over.wait(20)

    monkeypatch.setattr(kubevirt_api._Handler, "_console", console)
    stream = resources.stream(guest, "console")
    assert read(stream) == b"begin end"
    stream._seconds = 0.5
    with pytest.raises(Ended, match="within a frame"):
        read(stream)
    stream.close()


def test_a_silent_server_does_not_hold_for_ever(cluster: Simulated, resources: Resources, guest: str) -> None:
    cluster.faults.hang = "GET console"
    began = time.monotonic()
    api = resources._api
    with pytest.raises(NetworkError):
        websockets.connect(
            cluster.url.replace("https", "wss") + resources._sub(guest, "console"),
            headers={}, protocols=["p"], tls=api._tls, seconds=0.5,
        )  # fmt: skip
    assert time.monotonic() - began < 5


def test_the_console_is_kept_and_connected_again(
    cluster: Simulated, resources: Resources, guest: str, tmp_path: Path
) -> None:
    cluster.faults.cut_console = 2
    log = tmp_path / "console.log"
    with Recorder(lambda: resources.stream(guest, "console"), log, again=0.05):
        assert waited(lambda: log.read_bytes().endswith(b"login: "))
    assert log.read_bytes() == cluster.console[:5] * 2 + cluster.console


def test_enter_is_pressed_in_silence_ever_more_rarely(
    cluster: Simulated, resources: Resources, guest: str, tmp_path: Path
) -> None:
    cluster.console = b""
    log = tmp_path / "console.log"
    with Recorder(lambda: resources.stream(guest, "console"), log, nudge=0.1):
        assert waited(lambda: bool(cluster.typed))
        time.sleep(1.5)  # Enter comes after 0.1, 0.2, 0.4 and 0.8 seconds of silence
        assert 1 < len(cluster.typed) <= 4 and set(cluster.typed) == {b"\r"}
    assert cluster.entered in log.read_bytes()


def test_enter_is_not_pressed_where_the_prompt_is_there(
    cluster: Simulated, resources: Resources, guest: str, tmp_path: Path
) -> None:
    log = tmp_path / "console.log"
    with Recorder(lambda: resources.stream(guest, "console"), log, nudge=0.5) as recorder:
        assert waited(lambda: b"login: " in log.read_bytes())
        recorder.hush()
        time.sleep(1.0)
    assert cluster.typed == []


def test_a_console_that_prints_for_ever_does_not_fill_the_disk(
    cluster: Simulated, resources: Resources, guest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "LIMIT", 10)
    log = tmp_path / "console.log"
    with Recorder(lambda: resources.stream(guest, "console"), log, again=0.05) as recorder:
        assert waited(lambda: not recorder._thread.is_alive())
    assert log.read_bytes() == cluster.console[:10]


def test_a_console_that_never_opens_says_why(
    cluster: Simulated, resources: Resources, guest: str, tmp_path: Path
) -> None:
    cluster.faults.forbid.add("GET console")
    with Recorder(lambda: resources.stream(guest, "console"), tmp_path / "log", again=0.05) as recorder:
        assert waited(lambda: bool(recorder.trouble))
    assert "403" in recorder.trouble and TOKEN not in recorder.trouble


def test_bytes_go_through_the_port_both_ways(cluster: Simulated, resources: Resources, guest: str, echo: None) -> None:
    sent = bytes(range(256)) * 4096
    with Tunnel(lambda: resources.stream(guest, "portforward", "22")) as tunnel:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", tunnel.port), timeout=10) as client:
                found = b""
                for at in range(0, len(sent), 1 << 16):
                    client.sendall(sent[at : at + (1 << 16)])
                    while len(found) < at + (1 << 16):
                        piece = client.recv(1 << 16)
                        assert piece, tunnel.trouble
                        found += piece
                assert found == sent
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", tunnel.port), timeout=1)


def test_several_connections_at_once_and_no_more_than_a_few(
    cluster: Simulated, resources: Resources, guest: str, echo: None
) -> None:
    with Tunnel(lambda: resources.stream(guest, "portforward", "22")) as tunnel:
        clients = [socket.create_connection(("127.0.0.1", tunnel.port), timeout=10) for _ in range(9)]
        answers = []
        for number, client in enumerate(clients):
            try:
                client.sendall(b"%d" % number)
                answers.append(client.recv(10))
            except ConnectionError:
                answers.append(b"")
            if number == 8:
                assert answers.pop() == b"", "the ninth is turned away"
        assert answers == [b"%d" % number for number in range(8)]
        for client in clients:
            client.close()


def test_a_port_that_the_cluster_does_not_forward_closes(cluster: Simulated, resources: Resources, guest: str) -> None:
    cluster.faults.forbid.add("GET portforward")
    with Tunnel(lambda: resources.stream(guest, "portforward", "22")) as tunnel:
        with socket.create_connection(("127.0.0.1", tunnel.port), timeout=10) as client:
            assert client.recv(1) == b""
        assert waited(lambda: bool(tunnel.trouble)) and "403" in tunnel.trouble
