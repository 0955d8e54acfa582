import json
from types import SimpleNamespace

import pytest

from kmi.boot import checks
from kmi.boot.agent import AgentError, AgentInfo
from kmi.boot.checks import cloud_init, guest_agent, login_prompt, ssh_login
from kmi.boot.console import GaveUp
from kmi.boot.seed import SeedKind
from kmi.host.run import Result
from kmi.model.checks import CRITERIA, IDENTITY

FULL = {"init": "cloud-init", "agent": "installed", "user": "debian", "packages": "git", "virtual-size": "1"}
OSINFO = {"pretty-name": "Debian GNU/Linux 12 (bookworm)"}


AGENT = {"guest-agent", "agent-system", "agent-network", "agent-ssh-keys", "agent-reboot"}
LOGIN = set(CRITERIA) - AGENT - {"login-prompt", "cloud-init", "acpi-shutdown", "identity"}
"""What asks the agent, and what needs the default user's login."""


def guest(**parts) -> SimpleNamespace:
    """A guest that waits without time passing: a poll that finds nothing in 30 looks is given up."""

    def wait(poll, *, pause=1.0):
        for _ in range(30):
            found = poll()
            if found is not None:
                return found
        raise GaveUp("silent")

    return SimpleNamespace(
        wait=wait, metadata=FULL, machine=SimpleNamespace(ssh_port=1), key=None, given=None,
        console=SimpleNamespace(text=lambda: ""), **parts,
    )  # fmt: skip


def agent(commands: frozenset[str]) -> SimpleNamespace:
    return SimpleNamespace(
        ping=lambda: True,
        info=lambda: AgentInfo(version="7.2", commands=commands),
        system=lambda: OSINFO["pretty-name"],
    )


def answers(monkeypatch, module, *results: Result) -> list[str]:
    """The guest's shell says ``results`` in turn, the last one for ever."""
    asked: list[str] = []

    def simulated(script, *, user, port, key, seconds=60.0):
        asked.append(script)
        return results[min(len(asked), len(results)) - 1]

    monkeypatch.setattr(module, "execute", simulated)
    return asked


DENIED = Result(status=255, stdout="", stderr="debian@127.0.0.1: Permission denied (publickey).")
DOWN = Result(status=255, stdout="", stderr="kex_exchange_identification: Connection closed")


def test_every_criterion_has_its_check_in_order():
    assert [check.name for check in checks.ALL] == [name for name in CRITERIA if name != IDENTITY]


def test_a_full_image_skips_nothing():
    assert {check.name: reason for check in checks.ALL if (reason := check.skip(FULL))} == {}


@pytest.mark.parametrize(
    ("metadata", "skipped"),
    [
        ({**FULL, "agent": "absent"}, AGENT),
        ({**FULL, "agent": "upstream"}, set()),
        ({**FULL, "init": "ignition"}, set()),
        ({**FULL, "init": "none"}, {"cloud-init", *LOGIN}),
        ({**FULL, "user": ""}, {"agent-ssh-keys", *LOGIN}),
    ],
)
def test_what_does_not_apply_is_skipped_with_a_reason(metadata, skipped):
    reasons = {check.name: check.skip(metadata) for check in checks.ALL}
    assert {name for name, reason in reasons.items() if reason} == skipped


def test_the_agent_passes_with_all_ten_commands():
    seen = guest_agent.CHECK.run(guest(agent=agent(guest_agent.DEMANDED | {"guest-exec"})))
    assert "all 10 commands" in seen and "bookworm" in seen


@pytest.mark.parametrize("missing", sorted(guest_agent.DEMANDED))
def test_each_missing_command_fails_by_name(missing):
    with pytest.raises(GaveUp, match=f"does not offer {missing},"):
        guest_agent.CHECK.run(guest(agent=agent(guest_agent.DEMANDED - {missing})))


def test_a_dead_agent_fails():
    silent = SimpleNamespace(ping=lambda: False)
    with pytest.raises(GaveUp, match="silent"):
        guest_agent.CHECK.run(guest(agent=silent))


def test_ssh_passes_after_a_while(monkeypatch):
    answers(monkeypatch, ssh_login, DOWN, DENIED, Result(status=0, stdout="debian\n", stderr=""))
    assert ssh_login.CHECK.run(guest()) == "debian logged in with a key"


def test_ssh_that_keeps_denying_fails_by_its_words(monkeypatch):
    asked = answers(monkeypatch, ssh_login, DENIED)
    with pytest.raises(GaveUp, match="Permission denied"):
        ssh_login.CHECK.run(guest())
    assert len(asked) == 10


def test_ssh_as_another_user_fails(monkeypatch):
    answers(monkeypatch, ssh_login, Result(status=0, stdout="root\n", stderr=""))
    with pytest.raises(GaveUp, match="'root'"):
        ssh_login.CHECK.run(guest())


def test_the_record_is_read_over_ssh_where_the_agent_forbids_exec(monkeypatch):
    def refuse(argv):
        raise AgentError("disabled", refused=True)

    record = '{"v1": {"datasource": "DataSourceNoCloud [seed=/dev/vdb]", "errors": []}}'
    absent = Result(status=1, stdout="", stderr="No such file")
    asked = answers(monkeypatch, cloud_init, DOWN, absent, Result(status=0, stdout=record, stderr=""))
    assert "without errors" in cloud_init.CHECK.run(guest(agent=SimpleNamespace(exec=refuse)))
    assert asked == ["cat /run/cloud-init/result.json"] * 3


def test_the_record_with_errors_fails_whoever_reads_it():
    record = '{"v1": {"datasource": "DataSourceNoCloud", "errors": ["boom"]}}'
    with pytest.raises(GaveUp, match="boom"):
        cloud_init.CHECK.run(guest(agent=SimpleNamespace(exec=lambda argv: (0, record))))


@pytest.mark.parametrize(
    ("kind", "source", "passes"),
    [
        (SeedKind.CONFIGDRIVE, "DataSourceConfigDrive [net,ver=2][source=/dev/vdb]", True),
        (SeedKind.CONFIGDRIVE, "DataSourceNoCloud [seed=/dev/vdb]", False),
        (SeedKind.NOCLOUD, "DataSourceConfigDrive [net,ver=2][source=/dev/vdb]", False),
    ],
)
def test_cloud_init_is_held_to_the_kind_of_seed_that_was_given(kind, source, passes):
    record = json.dumps({"v1": {"datasource": source, "errors": []}})
    one = guest(agent=SimpleNamespace(exec=lambda argv: (0, record)))
    one.given = SimpleNamespace(kind=kind)
    if passes:
        assert source in cloud_init.CHECK.run(one)
    else:
        with pytest.raises(GaveUp, match="did not use the seed"):
            cloud_init.CHECK.run(one)


def test_ignition_is_asked_as_root_once_ssh_answers(monkeypatch):
    asked = answers(monkeypatch, cloud_init, DOWN, DENIED, Result(status=0, stdout="", stderr=""))
    scripts = []
    one = guest(ask=lambda script: scripts.append(script) or '{"userConfigProvided": false}\n')
    one.metadata = {**FULL, "init": "ignition"}
    with pytest.raises(GaveUp, match="Ignition found no configuration"):
        cloud_init.CHECK.run(one)
    assert (len(asked), len(scripts)) == (3, 1)
    assert "cat /etc/.ignition-result.json" in scripts[0]


def restarting(resets: int, *, prompt: bool = False) -> tuple[SimpleNamespace, list[str]]:
    """A guest that has reset its machine so often."""
    called: list[str] = []
    subject = guest()
    subject.machine = SimpleNamespace(resets=lambda: resets, end_at_reset=lambda: called.append("end"))
    subject.console = SimpleNamespace(login_prompt=lambda: prompt, dead_end=lambda: None, reached=lambda: "the kernel")
    return subject, called


def test_a_prompt_after_a_restart_is_a_prompt_and_later_ones_end_the_machine():
    subject, called = restarting(2, prompt=True)
    assert login_prompt.CHECK.run(subject).endswith("after it restarted itself")
    assert called == ["end"]
    assert login_prompt.CHECK.run(restarting(0, prompt=True)[0]) == "login prompt on the serial console"


def test_a_guest_that_restarts_without_end_is_given_up_and_ended():
    subject, called = restarting(login_prompt.RESETS + 1)
    with pytest.raises(GaveUp, match="again and again"):
        login_prompt.CHECK.run(subject)
    assert called == ["end"]
    with pytest.raises(GaveUp, match="silent"):
        login_prompt.CHECK.run(restarting(login_prompt.RESETS)[0])
