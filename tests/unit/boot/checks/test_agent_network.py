"""Addresses as agents tell them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from kmi.boot.agent import AgentError
from kmi.boot.checks import agent_network
from kmi.boot.checks.agent_network import judge
from kmi.boot.console import GaveUp

LOOPBACK = {"lo": ("127.0.0.1", "::1")}
GOOD = {**LOOPBACK, "enp1s0": ("fe80::1", "10.0.2.2")}


def test_the_given_address_passes() -> None:
    assert judge(GOOD) == "the agent tells 10.0.2.2 on enp1s0"


@pytest.mark.parametrize(
    "found",
    [
        {},
        LOOPBACK,
        {"lo": ("10.0.2.2",)},
        {**LOOPBACK, "enp1s0": ()},
        {**LOOPBACK, "enp1s0": ("169.254.3.4", "10.0.2.20")},
    ],
)
def test_no_such_address_is_not_there_yet(found: dict[str, tuple[str, ...]]) -> None:
    assert judge(found) is None


def test_it_may_come_late(guest) -> None:
    told = iter([LOOPBACK, LOOPBACK, GOOD])
    assert "enp1s0" in agent_network.CHECK.run(guest(agent=SimpleNamespace(addresses=lambda: next(told))))


def test_another_address_fails_by_what_is_there(guest) -> None:
    found = {**LOOPBACK, "enp1s0": ("169.254.3.4",)}
    with pytest.raises(GaveUp, match=r"no interface has 10\.0\.2\.2: .*enp1s0 169\.254\.3\.4"):
        agent_network.CHECK.run(guest(agent=SimpleNamespace(addresses=lambda: found)))


def test_an_agent_that_does_not_tell_fails(guest) -> None:
    def refuse() -> dict[str, tuple[str, ...]]:
        raise AgentError("the guest agent refuses guest-network-get-interfaces", refused=True)

    with pytest.raises(GaveUp, match="refuses"):
        agent_network.CHECK.run(guest(agent=SimpleNamespace(addresses=refuse)))
