"""The client against a small agent that speaks the protocol of QEMU's docs/interop/qemu-ga-ref (simulated)."""

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kmi.boot.agent import Agent, AgentError

Reply = Callable[[dict], bytes]


def line(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"


@contextmanager
def simulated(path: Path, commands: dict[str, object], *, stale: bytes = b"", silent: bool = False) -> Iterator[list]:
    """Serve connections one after the other. ``stale`` is written before each answer to a sync."""
    seen: list[dict] = []
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                for raw in lines:
                    message = json.loads(raw.lstrip(b"\xff"))
                    seen.append(message)
                    if silent or message["execute"] == "guest-shutdown":
                        continue
                    if message["execute"] == "guest-sync-delimited":
                        assert raw.startswith(b"\xff")
                        connection.sendall(stale + b"\xff" + line({"return": message["arguments"]["id"]}))
                    elif message["execute"] in commands:
                        found = commands[message["execute"]]
                        connection.sendall(line({"return": found(message) if callable(found) else found}))
                    else:
                        connection.sendall(line({"error": {"class": "CommandNotFound", "desc": "has been disabled"}}))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(5)


def test_ping_and_info(tmp_path):
    supported = [
        {"name": "guest-ping", "enabled": True, "success-response": True},
        {"name": "guest-exec", "enabled": False, "success-response": True},
    ]
    with simulated(
        tmp_path / "s", {"guest-ping": {}, "guest-info": {"version": "7.2", "supported_commands": supported}}
    ):
        agent = Agent(tmp_path / "s")
        assert agent.ping()
        info = agent.info()
    assert (info.version, info.commands) == ("7.2", frozenset({"guest-ping"}))


def test_what_earlier_connections_asked_is_skipped(tmp_path):
    stale = b'\xff{"return": 1}\n{"return": {"old": tr\xff{"return": 2}\n{"return": "late"}\n'
    with simulated(tmp_path / "s", {"guest-get-host-name": {"host-name": "new"}}, stale=stale):
        assert Agent(tmp_path / "s").call("guest-get-host-name") == {"host-name": "new"}


def test_a_refusal_carries_the_agents_words(tmp_path):
    with simulated(tmp_path / "s", {}), pytest.raises(AgentError, match="guest-exec: has been disabled") as caught:
        Agent(tmp_path / "s").exec(["true"])
    assert caught.value.refused


def test_nobody_there(tmp_path):
    assert not Agent(tmp_path / "absent").ping()


def test_an_agent_that_says_nothing_is_given_up_in_time(tmp_path):
    with simulated(tmp_path / "s", {}, silent=True):
        with pytest.raises(AgentError, match="guest-ping") as caught:
            Agent(tmp_path / "s", timeout=0.3).call("guest-ping")
        assert not caught.value.refused


def test_exec_waits_for_the_end_and_joins_the_streams(tmp_path):
    states = iter([
        {"exited": False},
        {"exited": True, "exitcode": 3, "out-data": base64.b64encode(b"out\n").decode(),
         "err-data": base64.b64encode(b"err\n").decode()},
    ])  # fmt: skip
    commands = {"guest-exec": {"pid": 7}, "guest-exec-status": lambda message: next(states)}
    with simulated(tmp_path / "s", commands) as seen:
        assert Agent(tmp_path / "s").exec(["cat", "/a b"]) == (3, "out\nerr\n")
    asked = [message for message in seen if message["execute"] == "guest-exec"]
    assert asked[0]["arguments"] == {"path": "cat", "arg": ["/a b"], "capture-output": True}


def test_exec_that_was_killed_is_not_a_success(tmp_path):
    commands = {"guest-exec": {"pid": 7}, "guest-exec-status": {"exited": True, "signal": 9}}
    with simulated(tmp_path / "s", commands):
        assert Agent(tmp_path / "s").exec(["x"])[0] == -9


def test_exec_that_does_not_end_is_given_up(tmp_path):
    with simulated(tmp_path / "s", {"guest-exec": {"pid": 7}, "guest-exec-status": {"exited": False}}):
        with pytest.raises(AgentError, match=r"sleep is not done after 0\.2 s"):
            Agent(tmp_path / "s").exec(["sleep"], seconds=0.2)


def test_powerdown_does_not_wait_for_an_answer(tmp_path):
    with simulated(tmp_path / "s", {}) as seen:
        Agent(tmp_path / "s").powerdown()
        for _ in range(50):
            if seen and seen[-1]["execute"] == "guest-shutdown":
                break
            threading.Event().wait(0.02)
    assert seen[-1] == {"execute": "guest-shutdown", "arguments": {"mode": "powerdown"}}


OSINFO = {"id": "debian", "name": "Debian GNU/Linux", "version-id": "12", "machine": "x86_64", "kernel-release": "6.1"}
INTERFACES = [
    {"name": "lo", "ip-addresses": [{"ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8}]},
    {"name": "enp1s0", "hardware-address": "52:54:00:12:34:56",
     "ip-addresses": [{"ip-address": "10.0.2.2", "ip-address-type": "ipv4", "prefix": 24}]},
    {"name": "enp2s0"},
]  # fmt: skip


def test_the_system_and_the_addresses_are_told(tmp_path):
    commands = {"guest-get-osinfo": OSINFO, "guest-network-get-interfaces": INTERFACES}
    with simulated(tmp_path / "s", commands):
        agent = Agent(tmp_path / "s", timeout=5)
        assert agent.osinfo() == OSINFO
        assert agent.addresses() == {"lo": ("127.0.0.1",), "enp1s0": ("10.0.2.2",), "enp2s0": ()}


@pytest.mark.parametrize("answer", [None, 1, "x", [1], [{}], [{"name": "a", "ip-addresses": [{}]}], {"a": 1}])
def test_addresses_of_another_shape_are_no_answer(tmp_path, answer):
    with simulated(tmp_path / "s", {"guest-network-get-interfaces": answer}):
        with pytest.raises(AgentError, match="makes no sense"):
            Agent(tmp_path / "s", timeout=5).addresses()


@pytest.mark.parametrize("answer", [None, 1, [1], "x"])
def test_a_system_of_another_shape_is_no_answer(tmp_path, answer):
    with simulated(tmp_path / "s", {"guest-get-osinfo": answer}):
        with pytest.raises(AgentError, match="makes no sense"):
            Agent(tmp_path / "s", timeout=5).osinfo()


def test_words_without_end_are_cut(tmp_path):
    commands = {"guest-get-osinfo": {"id": "x" * 5000}, "guest-network-get-interfaces": [{"name": "y" * 5000}]}
    with simulated(tmp_path / "s", commands):
        agent = Agent(tmp_path / "s", timeout=5)
        assert agent.osinfo() == {"id": "x" * 200}
        assert agent.addresses() == {"y" * 200: ()}


def test_keys_are_given_told_and_taken(tmp_path):
    kept = []

    def add(message):
        kept.extend(message["arguments"]["keys"])
        return {}

    def remove(message):
        kept.remove(message["arguments"]["keys"][0])
        return {}

    commands = {
        "guest-ssh-add-authorized-keys": add,
        "guest-ssh-remove-authorized-keys": remove,
        "guest-ssh-get-authorized-keys": lambda message: {"keys": list(kept)},
    }
    with simulated(tmp_path / "s", commands) as seen:
        agent = Agent(tmp_path / "s", timeout=5)
        agent.add_key("debian", "ssh-ed25519 AAAA kmi")
        assert agent.keys("debian") == ("ssh-ed25519 AAAA kmi",)
        agent.remove_key("debian", "ssh-ed25519 AAAA kmi")
        assert agent.keys("debian") == ()
    assert {one["arguments"]["username"] for one in seen if one["execute"].startswith("guest-ssh")} == {"debian"}


def test_a_reboot_is_not_answered_and_a_denial_is(tmp_path):
    with simulated(tmp_path / "s", {}) as seen:
        Agent(tmp_path / "s", timeout=0.5).reboot()
    assert seen[-1] == {"execute": "guest-shutdown", "arguments": {"mode": "reboot"}}
    with denying(tmp_path / "t"), pytest.raises(AgentError, match="refuses guest-shutdown: not allowed"):
        Agent(tmp_path / "t", timeout=5).reboot()


@contextmanager
def denying(path: Path) -> Iterator[None]:
    """An agent whose filter forbids everything but the synchronisation (simulated)."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rb") as lines:
            number = json.loads(lines.readline().lstrip(b"\xff"))["arguments"]["id"]
            connection.sendall(b"\xff" + line({"return": number}))
            lines.readline()
            connection.sendall(line({"error": {"class": "CommandNotFound", "desc": "not allowed"}}))
            lines.read()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.close()
        thread.join(5)
