"""Without any seed the guest still takes SSH keys by its agent, and no two machines share what tells them apart."""

from __future__ import annotations

from kmi.model.checks import AGENT_KEYS, GUEST_AGENT, IDENTITY, LOGIN_PROMPT, REBOOT
from tests.e2e.conftest import Run


def test_the_agent_lets_somebody_in(bootstrapped: Run) -> None:
    found = {check: result for (machine, check), result in bootstrapped.tested.items() if machine.endswith("/no-seed")}
    assert found.keys() == {LOGIN_PROMPT, GUEST_AGENT, AGENT_KEYS, REBOOT}
    assert {result["outcome"] for result in found.values()} == {"passed"}, found
    assert "logged in with a key that the agent was given" in found[AGENT_KEYS]["detail"]


def test_three_boots_are_three_machines(bootstrapped: Run) -> None:
    result = bootstrapped.tested["amd64", IDENTITY]
    assert result["outcome"] == "passed", result
    assert result["detail"] == "3 machine-ids and 3 sets of SSH host keys, all different"
