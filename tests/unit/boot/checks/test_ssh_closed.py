"""By which ways a guest lets people try to log in, and what it says to root."""

from __future__ import annotations

import pytest

from kmi.boot import ssh
from kmi.boot.checks import ssh_closed
from kmi.boot.checks.ssh_closed import judge_methods, judge_root
from kmi.boot.console import GaveUp
from kmi.host.run import Result

KEYS = frozenset({"publickey"})
REFUSED = Result(status=255, stdout="", stderr="root@127.0.0.1: Permission denied (publickey).\n")
DOWN = Result(status=255, stdout="", stderr="kex_exchange_identification: Connection closed by remote host\n")
REDIRECTED = Result(
    status=142, stdout='Please login as the user "debian" rather than the user "root".\n\n', stderr=""
)  # cloud-init: cloudinit/ssh_util.py, DISABLE_USER_OPTS


@pytest.mark.parametrize("offered", [KEYS, KEYS | {"gssapi-with-mic"}, KEYS | {"hostbased"}])
def test_keys_alone_pass(offered: frozenset[str]) -> None:
    judge_methods("debian", offered)


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_a_password_that_may_be_tried_fails(method: str) -> None:
    with pytest.raises(GaveUp, match=f"lets debian try {method}; expected keys"):
        judge_methods("debian", KEYS | {method})


def test_an_open_door_fails() -> None:
    with pytest.raises(GaveUp, match="without any proof"):
        judge_methods("debian", frozenset({"none"}))


@pytest.mark.parametrize(("tried", "how"), [(REFUSED, "refused"), (REDIRECTED, "default user")])
def test_root_that_is_turned_away_passes(tried: Result, how: str) -> None:
    assert how in (judge_root(tried) or "")


def test_a_server_that_does_not_answer_has_said_nothing() -> None:
    assert judge_root(DOWN) is None


@pytest.mark.parametrize(
    "tried",
    [
        Result(status=0, stdout="0\n", stderr=""),
        Result(status=0, stdout="Please login as you like\n0\n", stderr=""),
        Result(status=127, stdout="", stderr="sh: id: not found"),
    ],
)
def test_root_that_gets_a_shell_fails(tried: Result) -> None:
    with pytest.raises(GaveUp, match="logs in as root"):
        judge_root(tried)


def simulated(
    monkeypatch: pytest.MonkeyPatch, offered: dict[str, list[frozenset[str] | None]], root: list[Result]
) -> None:
    """An SSH server that says for each user, and to root's login, these things in turn, the last one for ever."""

    def methods(*, user: str, port: int) -> frozenset[str] | None:
        return offered[user].pop(0) if len(offered[user]) > 1 else offered[user][0]

    def execute(script: str, *, user: str, port: int, key: object) -> Result:
        assert (script, user) == ("id -u", "root")
        return root.pop(0) if len(root) > 1 else root[0]

    monkeypatch.setattr(ssh, "methods", methods)
    monkeypatch.setattr(ssh, "execute", execute)


def test_a_closed_guest_passes_once_it_answers(monkeypatch: pytest.MonkeyPatch, guest) -> None:
    simulated(monkeypatch, {"debian": [None, KEYS], "root": [None, None, KEYS]}, [DOWN, REDIRECTED])
    assert "keys alone, and of root it is told" in ssh_closed.CHECK.run(guest())


def test_a_password_for_root_alone_fails(monkeypatch: pytest.MonkeyPatch, guest) -> None:
    simulated(monkeypatch, {"debian": [KEYS], "root": [KEYS | {"password"}]}, [REFUSED])
    with pytest.raises(GaveUp, match="lets root try password"):
        ssh_closed.CHECK.run(guest())


def test_an_image_of_root_is_asked_for_passwords_only(monkeypatch: pytest.MonkeyPatch, guest) -> None:
    simulated(monkeypatch, {"root": [KEYS]}, [Result(status=0, stdout="0\n", stderr="")])
    assert "root is the image's default user" in ssh_closed.CHECK.run(guest(metadata={"user": "root"}))
