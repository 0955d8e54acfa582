import time
from types import SimpleNamespace

import pytest

from kmi.boot.checks import running
from kmi.boot.console import GaveUp

STAT = "process=612 (agetty) S 1 612 612 1025 612 4194304 119 0 0 0 1 1 0 0 20 0 1 0 4523 5984256 483\n"
USE = f"system=Linux\nMemTotal=989184\nMemAvailable=842752\n{STAT}"


@pytest.mark.parametrize(("told", "off"), [(100, 0), (103, 0), (107, 2), (95, 4), (94, 5), (110, 5)])
def test_a_clock_within_what_asking_takes_is_right(told, off):
    assert running.judge_clock(told, 100.0, 105.0) == off


@pytest.mark.parametrize(
    ("told", "words"), [(93, "6 s behind"), (111, "6 s ahead"), (0, "99 s behind"), (3700, "3595 s ahead")]
)
def test_a_clock_that_is_off_fails_by_how_much(told, words):
    with pytest.raises(GaveUp, match=words):
        running.judge_clock(told, 100.0, 105.0)


def clock(guest, offset: float, *processes: str) -> SimpleNamespace:
    """A guest whose clock is ``offset`` seconds ahead of the host's."""
    lines = "".join(f"process={name}\n" for name in processes)

    def ask(script: str, *, seconds: float | None = None) -> str:
        return f"{lines}source=kvm-clock\nseconds={int(time.time() + offset)}\n"

    return guest(ask=ask)


def test_who_keeps_the_time_is_told(guest):
    seen = running.IN_TIME.run(clock(guest, 0, "sshd", "systemd-timesyn"))
    assert "kept by systemd-timesyn, clock source kvm-clock" in seen
    assert "kept by no time service" in running.IN_TIME.run(clock(guest, 0, "sshd"))


@pytest.mark.parametrize("offset", [3600, -3600, 10, -10])
def test_a_guest_in_another_hour_fails(guest, offset):
    with pytest.raises(GaveUp, match="of the host's"):
        running.IN_TIME.run(clock(guest, offset))


@pytest.mark.parametrize("said", ["", "seconds=\n", "seconds=-5\n", "seconds=NaN\n", f"seconds={'9' * 5000}\n"])
def test_what_is_no_time_fails(guest, said):
    with pytest.raises(GaveUp, match="tells no seconds"):
        running.IN_TIME.run(guest(said))


def test_boot_time_and_memory_are_told(guest):
    assert running.MODEST.run(guest(USE)) == "boot 45 s, memory in use 143 MiB of 966 MiB"
    later = STAT.replace(" 4523 ", " 99999 ")
    assert "boot 45 s" in running.MODEST.run(guest(USE + later))
    assert "boot time not told (no getty runs)" in running.MODEST.run(guest(USE.replace(STAT, "process=1 (\n")))


def test_a_guest_that_fills_its_memory_fails(guest):
    with pytest.raises(GaveUp, match="boot 45 s, memory in use 523 MiB of 966 MiB: less than half is available"):
        running.MODEST.run(guest(USE.replace("842752", "454000")))


@pytest.mark.parametrize(
    ("old", "new"),
    [("MemTotal=989184", "MemTotal=lots"), ("MemAvailable=842752", "MemAvailable=-1"), (" 4523 ", " never ")],
)
def test_what_is_no_figure_fails(guest, old, new):
    with pytest.raises(GaveUp, match="the guest tells no"):
        running.MODEST.run(guest(USE.replace(old, new)))
