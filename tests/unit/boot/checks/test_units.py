import pytest

from kmi.boot.checks import Inapplicable, units
from kmi.boot.console import GaveUp, Patience

UP = "system=Linux\nmanager=systemd\nstate=running\n"
STARTING = "system=Linux\nmanager=systemd\nstate=starting\njob=cloud-final.service\n"
DEGRADED = """system=Linux
manager=systemd
state=degraded
failed=ssh.service    loaded failed failed OpenBSD Secure Shell server
failed=logrotate.service loaded failed failed Rotate log files
"""


def test_a_system_that_runs_passes(guest):
    assert units.CHECK.run(guest(UP)) == "systemd is running, no unit has failed"
    assert units.CHECK.run(guest("system=Linux\nmanager=OpenRC\n")) == "OpenRC knows of no crashed service"


def test_failed_units_are_told_by_name(guest):
    with pytest.raises(GaveUp, match=r"^failed: logrotate.service, ssh.service$"):
        units.CHECK.run(guest(DEGRADED))
    with pytest.raises(GaveUp, match=r"^failed: chronyd$"):
        units.CHECK.run(guest("system=Linux\nmanager=OpenRC\nfailed=chronyd       [ crashed ]\nfailed=\n"))


def test_a_unit_that_fails_while_the_system_comes_up_fails(guest):
    with pytest.raises(GaveUp, match=r"failed: ssh.service"):
        units.CHECK.run(guest(STARTING + "failed=ssh.service loaded failed failed x\n"))


def test_a_system_that_comes_up_is_waited_for(guest):
    found = guest(STARTING, STARTING, UP, patience=Patience(quiet=60, overall=60, least=60))
    assert "running" in units.CHECK.run(found)
    assert len(found.ask.asked) == 3


def test_a_system_that_never_comes_up_fails_by_what_it_waits_for(guest):
    with pytest.raises(GaveUp, match=r"still starting and waits for cloud-final.service"):
        units.CHECK.run(guest(STARTING))


@pytest.mark.parametrize("state", ["maintenance", "offline", "", "\x1b[2J"])
def test_any_other_state_fails(guest, state):
    with pytest.raises(GaveUp, match="expected running"):
        units.CHECK.run(guest(f"system=Linux\nmanager=systemd\nstate={state}\n"))


def test_another_service_manager_is_not_asked(guest):
    with pytest.raises(Inapplicable, match="neither systemd nor OpenRC"):
        units.CHECK.run(guest("system=Linux\n"))
