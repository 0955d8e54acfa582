"""QEMU's control socket, simulated: the greeting, answers and events are those of QEMU's docs/interop/qmp-spec."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable

import pytest

from kmi.boot import qmp as module
from kmi.boot.qmp import Qmp
from kmi.errors import BuildError

GREETING = b'{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}\r\n'


def event(name: str, **data: object) -> bytes:
    return json.dumps({"event": name, "data": data, "timestamp": {"seconds": 1, "microseconds": 2}}).encode() + b"\r\n"


def answer(number: int, value: object = None) -> bytes:
    return json.dumps({"return": value or {}, "id": number}).encode() + b"\r\n"


SHUTDOWN = event("SHUTDOWN", guest=True, reason="guest-shutdown")


@pytest.fixture
def qemu(tmp_path):
    """Simulated: answers each command after ``qmp_capabilities`` with what ``say`` makes of its number."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "qmp.sock"))
    listening.listen()
    threads: list[threading.Thread] = []

    def serve(say: Callable[[int], bytes], greeting: bytes) -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as lines:
            connection.sendall(greeting)
            for line in lines:
                message = json.loads(line)
                first = message["execute"] == "qmp_capabilities"
                words = answer(message["id"]) if first else say(message["id"])
                if words == b"":
                    return
                try:
                    connection.sendall(words)
                except BrokenPipeError:
                    return

    def start(say: Callable[[int], bytes] = answer, *, greeting: bytes = GREETING, timeout: float = 2.0) -> Qmp:
        threads.append(threading.Thread(target=serve, args=(say, greeting), daemon=True))
        threads[-1].start()
        return Qmp(tmp_path / "qmp.sock", timeout=timeout)

    yield start
    listening.close()
    for thread in threads:
        thread.join(5)
        assert not thread.is_alive()


def test_an_answer_is_the_one_to_the_command_whatever_comes_before_it(qemu):
    with qemu(lambda number: event("RTC_CHANGE", offset=1) + answer(number - 1, "old") + answer(number, "new")) as qmp:
        assert qmp.call("query-name") == "new"
        assert qmp.call("query-name") == "new"


def test_a_refusal_has_qemus_words_without_control_characters(qemu):
    def refuse(number: int) -> bytes:
        error = {"class": "GenericError", "desc": "no \x1b[2Jsuch thing"}
        return json.dumps({"error": error, "id": number}).encode() + b"\n"

    with qemu(refuse) as qmp, pytest.raises(BuildError, match="refused stop") as caught:
        qmp.call("stop")
    assert "such thing" in str(caught.value.got) and "\x1b" not in str(caught.value.got)


def test_the_guests_end_is_remembered_whenever_it_was_told(qemu):
    with qemu(lambda number: SHUTDOWN + answer(number)) as qmp:
        assert qmp.reason() is None
        qmp.call("query-status")
        assert qmp.reason() == "guest-shutdown"
    with qemu(lambda number: answer(number) + event("VSERPORT_CHANGE", id="x", open=True) + SHUTDOWN + b"") as qmp:
        qmp.call("query-status")
        assert eventually(qmp.reason) == "guest-shutdown"


def test_resets_of_the_guest_are_counted_and_no_others(qemu):
    told = event("RESET", guest=True, reason="guest-reset") * 2 + event("RESET", guest=False, reason="host-qmp-quit")
    with qemu(lambda number: told + b'{"event": "RESET", "data": 7}\n' + answer(number)) as qmp:
        before = qmp.resets()
        qmp.call("query-status")
        assert qmp.resets() == before + 2
        assert qmp.reason() is None


def test_the_first_reason_counts_and_is_short_and_plain(qemu):
    first = event("SHUTDOWN", guest=True, reason="\x1b" + "x" * 1000)
    with qemu(lambda number: first + SHUTDOWN + answer(number)) as qmp:
        qmp.call("query-status")
        reason = qmp.reason()
    assert reason is not None and len(reason) == 40 and "\x1b" not in reason


def test_a_reason_outlives_qemu(qemu):
    with qemu(lambda number: SHUTDOWN if number == 2 else b"", timeout=0.2) as qmp:
        for _ in range(2):
            with pytest.raises(BuildError, match="did not answer"):
                qmp.call("quit")
        assert qmp.reason() == "guest-shutdown"


@pytest.mark.parametrize(
    "words", [b"nonsense\n", b"[]\n", b"[" * 100_000 + b"\n", b"\xff\n", b'{"return": 1, "id": 77}\n', b'"x"\n', b""]
)
def test_odd_answers_are_refused_and_nothing_is_waited_for_too_long(qemu, words):
    with qemu(lambda _: words, timeout=0.3) as qmp, pytest.raises(BuildError, match="did not answer query-status"):
        qmp.call("query-status")


def test_an_endless_message_is_not_kept(qemu, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 100_000)
    with qemu(lambda _: b"x" * 1_000_000) as qmp:
        with pytest.raises(BuildError) as caught:
            qmp.call("query-status")
        assert "more than 100000 bytes" in str(caught.value.got)
        assert len(qmp._buffer) < 200_000


def test_who_does_not_greet_is_not_waited_for(qemu):
    with pytest.raises(OSError, match="timed out"):
        qemu(greeting=b"", timeout=0.2)


def test_nobody_who_listens_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        Qmp(tmp_path / "none.sock")


def test_the_port_into_the_guest_is_read_from_slirps_table(qemu):
    table = (
        "Hub -1 (n0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n"
        "  TCP[HOST_FORWARD]  13       127.0.0.1 45678       10.0.2.2    22     0     0\r\n"
    )
    with qemu(lambda number: answer(number, table)) as qmp:
        assert qmp.hostfwd() == 45678
    with qemu(lambda number: answer(number, "Hub")) as qmp, pytest.raises(BuildError, match="forwards no port"):
        qmp.hostfwd()


def test_threads_get_their_own_answers(qemu):
    found: dict[int, set[str]] = {}

    def ask(name: int) -> None:
        found[name] = {qmp.call("echo") for _ in range(20)}

    with qemu(lambda number: answer(number, str(number))) as qmp:
        threads = [threading.Thread(target=ask, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert len(set().union(*found.values())) == 80


def eventually(ask: Callable[[], str | None]) -> str | None:
    for _ in range(200):
        if told := ask():
            return told
        threading.Event().wait(0.01)
    return None
