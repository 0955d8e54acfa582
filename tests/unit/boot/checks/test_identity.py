"""Who guests of one image are, told apart."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from kmi.boot import ssh
from kmi.boot.agent import AgentError
from kmi.boot.checks import identity
from kmi.boot.checks.identity import Identity, compare
from kmi.boot.console import GaveUp
from kmi.model.stages import Outcome

ID, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2
ED, RSA = "ssh-ed25519 AAAAed", "ssh-rsa AAAArsa"


def who(machine: str, machine_id: str = "", keys: Sequence[str] = ()) -> Identity:
    return Identity(machine=machine, machine_id=machine_id, host_keys=tuple(keys))


ONE = who("amd64/bios", ID, [ED, RSA])
TWO = who("amd64/bios/no-seed", OTHER, ["ssh-ed25519 BBBBed", "ssh-rsa BBBBrsa"])


def test_two_that_differ_pass() -> None:
    result = compare("amd64", [ONE, TWO])
    assert (result.outcome, result.machine, result.check) == (Outcome.PASSED, "amd64", "identity")
    assert result.detail == "2 machine-ids and 2 sets of SSH host keys, all different"


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ([ONE, who("b", ID, TWO.host_keys)], f"machine-id {ID} on amd64/bios and b"),
        ([ONE, who("b", OTHER, [ED, "ssh-rsa CCCC"])], "the same host keys (ssh-ed25519) on amd64/bios and b"),
        ([ONE, TWO, who("c", OTHER, [RSA])], "machine-id"),
        ([ONE, TWO, who("c", "", [RSA])], "the same host keys (ssh-rsa) on amd64/bios and c"),
        ([who("a", ID), who("b", ID)], "machine-id"),
    ],
)
def test_what_is_shared_fails_by_name(seen: list[Identity], words: str) -> None:
    result = compare("amd64", seen)
    assert (result.outcome, words in result.detail) == (Outcome.FAILED, True)


@pytest.mark.parametrize(
    "seen", [[], [ONE], [ONE, who("b")], [who("a", ID), who("b", "", [ED])], [who("a"), who("b"), who("c")]]
)
def test_what_was_not_told_twice_is_not_judged(seen: list[Identity]) -> None:
    assert compare("amd64", seen).outcome is Outcome.SKIPPED


def test_keys_alone_are_enough_and_only_they_are_named() -> None:
    result = compare("amd64", [who("a", ID, [ED]), who("b", "", [RSA])])
    assert (result.outcome, result.detail) == (Outcome.PASSED, "2 sets of SSH host keys, all different")


def refused(argv: list[str]) -> tuple[int, str]:
    raise AgentError("guest-exec has been disabled", refused=True)


def scanned(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> list[int]:
    """SSH scans find these in turn, the last one for ever; the ports that were scanned."""
    ports: list[int] = []

    def host_keys(port: int) -> tuple[str, ...]:
        ports.append(port)
        return answers[min(len(ports), len(answers)) - 1]

    monkeypatch.setattr(ssh, "host_keys", host_keys)
    return ports


def asked(guest, *answers, exec_, given: object = None) -> SimpleNamespace:
    machine = SimpleNamespace(ssh_port=7, hardware=SimpleNamespace(name="amd64/bios"))
    return guest(*answers, agent=SimpleNamespace(exec=exec_), given=given, machine=machine)


def test_the_agent_tells_without_a_login(guest, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned(monkeypatch, (ED,))
    one = asked(guest, exec_=lambda argv: (0, f"{ID}\n"))
    assert identity.of(one) == who("amd64/bios", ID, [ED])
    assert one.ask.asked == []


def test_ssh_tells_where_the_agent_may_not_execute(guest, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned(monkeypatch, (ED,))
    assert identity.of(asked(guest, f"{ID}\n", exec_=refused, given="a seed")).machine_id == ID


@pytest.mark.parametrize("text", ["", "uninitialized\n", ID[:-1], f"{ID}{ID}", ID.upper()])
def test_what_is_no_machine_id_is_none(guest, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """machine-id(5): 32 lower-case hexadecimal digits; ``uninitialized`` before the first boot is over."""
    scanned(monkeypatch, (ED,))
    assert identity.of(asked(guest, text, exec_=lambda argv: (0, text), given="a seed")).machine_id == ""


def test_where_nobody_gets_in_nothing_is_told(guest, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned(monkeypatch, ())
    assert identity.of(asked(guest, GaveUp("no"), exec_=refused, given="a seed")) == who("amd64/bios")
    unseeded = asked(guest, ID, exec_=refused)
    assert (identity.of(unseeded).machine_id, unseeded.ask.asked) == ("", [])


def test_a_scan_that_lost_a_key_is_made_again(guest, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = scanned(monkeypatch, (ED,), (ED, RSA), (ED, RSA))
    assert identity.of(asked(guest, exec_=refused)).host_keys == (ED, RSA)
    assert ports == [7, 7, 7]
