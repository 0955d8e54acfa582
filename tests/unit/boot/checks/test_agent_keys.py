"""The order of events around a key that an agent is given, against a guest that keeps such keys (simulated)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from kmi.boot import ssh
from kmi.boot.agent import AgentError, AgentInfo
from kmi.boot.checks import agent_keys
from kmi.boot.checks.agent_keys import judge_selinux
from kmi.boot.console import GaveUp
from kmi.host.run import Result
from kmi.model.agent import DEMANDED, KEYS

DENIED = Result(status=255, stdout="", stderr="debian@127.0.0.1: Permission denied (publickey).")
DOWN = Result(status=255, stdout="", stderr="Connection reset by peer")
ON, OFF, MISSING, PERMISSIVE, NONE = "1\n1 1", "1\n0 0", "1\n", "0\n0 0", "\n"


class Keeper:
    """Simulated: an agent that keeps keys by user, and an sshd that reads them."""

    def __init__(self, users: tuple[str, ...] = ("debian",), commands: frozenset[str] = DEMANDED | KEYS) -> None:
        self.kept: dict[str, list[str]] = {user: [] for user in users}
        self.commands = commands
        self.selinux = NONE
        self.answers: list[Result] = []

    def info(self) -> AgentInfo:
        return AgentInfo(version="7.2", commands=self.commands)

    def add_key(self, user: str, key: str) -> None:
        if user not in self.kept:
            raise AgentError(f"failed to lookup user '{user}'", refused=True)
        self.kept[user].append(key)

    def keys(self, user: str) -> tuple[str, ...]:
        return tuple(self.kept[user])

    def remove_key(self, user: str, key: str) -> None:
        self.kept[user].remove(key)

    def execute(self, script: str, *, user: str, port: int, key: ssh.Key) -> Result:
        if self.answers:
            return self.answers.pop(0)
        return Result(status=0, stdout=self.selinux, stderr="") if key.public in self.kept[user] else DENIED


@pytest.fixture
def run(
    guest: Callable[..., SimpleNamespace], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[Keeper], str]:
    def checked(keeper: Keeper) -> str:
        monkeypatch.setattr(ssh, "execute", keeper.execute)
        return agent_keys.CHECK.run(guest(agent=keeper, scratch=tmp_path))

    return checked


def test_a_key_that_comes_and_goes_passes_and_leaves_nothing(run) -> None:
    keeper = Keeper()
    assert run(keeper) == "debian logged in with a key that the agent was given, and not once it was taken back"
    assert keeper.kept == {"debian": []}


def test_a_busy_server_is_asked_again(run) -> None:
    keeper = Keeper()
    keeper.answers = [DOWN, DENIED, DOWN]
    assert "logged in" in run(keeper)


@pytest.mark.parametrize("name", sorted(KEYS))
def test_each_blocked_command_fails_by_name(run, name: str) -> None:
    with pytest.raises(GaveUp, match=f"does not offer {name}, by which"):
        run(Keeper(commands=(DEMANDED | KEYS) - {name}))


def test_a_user_that_is_not_there_fails(run) -> None:
    with pytest.raises(GaveUp, match="failed to lookup user 'debian'"):
        run(Keeper(users=()))


def test_a_key_that_does_not_open_fails(run) -> None:
    keeper = Keeper()
    keeper.answers = [DENIED] * 30
    with pytest.raises(GaveUp, match=r"refused with the key that the agent was given: .*Permission denied"):
        run(keeper)


def test_a_key_that_is_not_told_fails(run) -> None:
    keeper = Keeper()
    keeper.keys = lambda user: ()  # type: ignore[method-assign]
    with pytest.raises(GaveUp, match="does not tell the key"):
        run(keeper)


def test_a_key_that_stays_fails(run) -> None:
    keeper = Keeper()
    keeper.remove_key = lambda user, key: None  # type: ignore[method-assign]
    with pytest.raises(GaveUp, match="still logs in"):
        run(keeper)


def test_selinux_that_forbids_fails_a_key_that_opens(run) -> None:
    keeper = Keeper()
    keeper.selinux = OFF
    with pytest.raises(GaveUp, match="virt_qemu_ga_manage_ssh is off"):
        run(keeper)


@pytest.mark.parametrize(
    ("said", "told"), [(ON, "with virt_qemu_ga_manage_ssh on"), (PERMISSIVE, ""), (NONE, ""), ("", "")]
)
def test_selinux_that_allows_it_or_does_not_rule(said: str, told: str) -> None:
    assert judge_selinux(said).endswith(told)
    assert bool(judge_selinux(said)) == bool(told)


@pytest.mark.parametrize(("said", "words"), [(OFF, "is off"), (MISSING, "not in its policy")])
def test_selinux_that_rules_without_the_boolean_fails(said: str, words: str) -> None:
    with pytest.raises(GaveUp, match=words):
        judge_selinux(said)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"agent": "absent", "user": "debian"}, "no guest agent"),
        ({"agent": "installed", "user": ""}, "no default user"),
        ({"agent": "upstream", "user": "debian"}, None),
    ],
)
def test_what_it_applies_to(metadata: dict[str, str], reason: str | None) -> None:
    skipped = agent_keys.CHECK.skip(metadata)
    assert skipped is None if reason is None else reason in (skipped or "")
