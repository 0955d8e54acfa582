"""How the guest runs: its clock is right, and it starts in a known time and leaves half of its memory free.

The clock of a KubeVirt machine starts with the host's (``-rtc base=utc``) and is then the guest's own affair; the check
compares it with the host's and names the service that keeps it.
"""

from __future__ import annotations

import time

from kmi.boot.checks.check import Check, Guest, with_login
from kmi.boot.checks.linux import Facts, ask, number, script
from kmi.boot.console import GaveUp
from kmi.model.checks import CLOCK, FOOTPRINT, SSH

TOLERANCE = 5
"""Seconds."""
_ASKED = 3
_KEEPERS = ("systemd-timesyn", "chronyd", "ntpd", "ntpsec", "openntpd", "timed")
"""Time services by /proc/PID/comm, which the kernel cuts after 15 characters."""
_TICKS = 100
"""Of /proc/PID/stat in a second (USER_HZ) on every architecture that KubeVirt knows."""
_START = 19
"""Index of field 22, ``starttime``, counted from the one after the name (proc_pid_stat(5))."""

_TIME = "cat /proc/[0-9]*/comm 2>/dev/null | sort -u | sed 's/^/process=/'\n" \
    'echo "source=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource 2>/dev/null)"\n' \
    'echo "seconds=$(date +%s)"'  # fmt: skip

_USE = r"""
awk '$1 == "MemTotal:" || $1 == "MemAvailable:" { sub(":", "=", $1); print $1 $2 }' /proc/meminfo
cat /proc/[0-9]*/stat 2>/dev/null | grep -E '\((agetty|getty|mingetty|login)\)' | sed 's/^/process=/'
true
"""


def judge_clock(told: int, before: float, after: float) -> float:
    """How many seconds the guest's ``told`` lies outside of what the host's clock said before and after it was asked:
    under emulation asking takes seconds."""
    off = max(before - (told + 1), told - after, 0.0)  # the guest tells whole seconds, cut off
    if off > TOLERANCE:
        side = "behind" if told < before else "ahead"
        raise GaveUp(f"the clock is {off:.0f} s {side} of the host's, expected at most {TOLERANCE} s")
    return off


def judge_footprint(facts: Facts) -> str:
    """Boot time is that from the kernel's first moment to the first login prompt."""
    total, available = facts.number("MemTotal"), facts.number("MemAvailable")
    used = f"memory in use {(total - available) / 1024:.0f} MiB of {total / 1024:.0f} MiB"
    boot = _boot_seconds(facts.all("process"))
    told = f"boot {boot:.0f} s, {used}" if boot is not None else f"boot time not told (no getty runs), {used}"
    if available * 2 < total:
        raise GaveUp(f"{told}: less than half is available")
    return told


def _boot_seconds(processes: list[str]) -> float | None:
    starts = []
    for line in processes:
        fields = line.rpartition(")")[2].split()
        if len(fields) > _START:
            starts.append(number(fields[_START], "start time of its getty"))
    return min(starts) / _TICKS if starts else None


def _clock(guest: Guest) -> str:
    """The narrowest of a few answers counts."""
    answers = []
    for _ in range(_ASKED):
        before = time.time()
        facts = Facts.of(guest.ask(script(_TIME)))
        answers.append((time.time() - before, before, facts))
    took, before, facts = min(answers, key=lambda answer: answer[0])
    off = judge_clock(facts.number("seconds"), before, before + took)
    keepers = [name for name in _KEEPERS if name in facts.all("process")]
    kept = f"kept by {' and '.join(keepers)}" if keepers else "kept by no time service"
    source = facts.one("source")
    return f"at most {off + took:.0f} s off, {kept}" + (f", clock source {source}" if source else "")


def _footprint(guest: Guest) -> str:
    return judge_footprint(ask(guest, _USE))


IN_TIME = Check(name=CLOCK, skip=with_login, run=_clock, after=(SSH,))
MODEST = Check(name=FOOTPRINT, skip=with_login, run=_footprint, after=(SSH,))
