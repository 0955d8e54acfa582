import socket
import urllib.request

import pytest

from kmi.boot import outside
from kmi.boot.outside import Outside

HAS_IPV6 = outside._has_ipv6()


def fetch(host: str, port: int) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{host}:{port}/", timeout=10) as answer:
        return answer.read().decode()


def test_every_connection_gets_the_nonce_by_each_family():
    with Outside("5ec2e7") as server:
        assert [fetch("127.0.0.1", server.port) for _ in range(3)] == ["5ec2e7\n"] * 3
        for family in server.families:
            assert fetch("[::1]" if family == socket.AF_INET6 else "127.0.0.1", server.port) == "5ec2e7\n"
        assert server.families == ((socket.AF_INET, socket.AF_INET6) if HAS_IPV6 else (socket.AF_INET,))


def test_a_client_that_goes_without_a_word_does_not_end_the_service():
    with Outside("5ec2e7") as server:
        for _ in range(3):
            socket.create_connection(("127.0.0.1", server.port)).close()
        assert fetch("127.0.0.1", server.port) == "5ec2e7\n"


def test_it_listens_on_the_loopback_alone_and_not_any_longer_than_its_block():
    with Outside("n") as server:
        port = server.port
        assert {one.getsockname()[0] for one in server._sockets} <= {"127.0.0.1", "::1"}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert (server.port, server._sockets) == (0, [])


def test_two_at_a_time_have_ports_of_their_own():
    with Outside("one") as one, Outside("two") as two:
        assert (fetch("127.0.0.1", one.port), fetch("127.0.0.1", two.port)) == ("one\n", "two\n")


OF_NOBODY = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "2001:db8::1"))


def test_a_host_without_ipv6_listens_by_ipv4(monkeypatch):
    monkeypatch.setattr(outside, "_HOSTS", OF_NOBODY)
    monkeypatch.setattr(outside, "_has_ipv6", lambda: False)
    with Outside("n") as server:
        assert server.families == (socket.AF_INET,)
        assert fetch("127.0.0.1", server.port) == "n\n"


def test_a_port_that_one_family_has_not_is_tried_again_and_then_given_up(monkeypatch):
    taken = socket.create_server(("127.0.0.1", 0))
    ports = iter([taken.getsockname()[1]] * 2 + [0])
    listen = Outside._listen

    def simulated(self: Outside) -> None:
        """The kernel gives a port twice that somebody else has in the other family."""
        self.port = next(ports)
        listen(self)

    monkeypatch.setattr(Outside, "_listen", simulated)
    with taken, Outside("n") as server:
        assert fetch("127.0.0.1", server.port) == "n\n"
    monkeypatch.setattr(Outside, "_listen", listen)
    monkeypatch.setattr(outside, "_HOSTS", OF_NOBODY)
    monkeypatch.setattr(outside, "_has_ipv6", lambda: True)
    with pytest.raises(OSError):
        Outside("n").__enter__()
