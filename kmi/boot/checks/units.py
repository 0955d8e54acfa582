"""Nothing that the system starts has failed, by the service manager's own word: systemctl(1), rc-status(8)."""

from __future__ import annotations

import time

from kmi.boot.checks.check import Check, Guest, Inapplicable, with_login
from kmi.boot.checks.linux import Facts, ask
from kmi.boot.console import GaveUp
from kmi.model.checks import SSH, UNITS

_SCRIPT = r"""
if command -v systemctl >/dev/null && [ -d /run/systemd/system ]; then
  echo manager=systemd
  echo "state=$(systemctl is-system-running 2>/dev/null)"
  systemctl list-units --failed --plain --no-legend --full --no-pager | sed 's/^[^[:alnum:]]*/failed=/'
  systemctl list-jobs --plain --no-legend --full --no-pager | awk '{ print "job=" $2 }' | head -n 5
elif command -v rc-status >/dev/null; then
  echo manager=OpenRC
  rc-status --nocolor --crashed 2>/dev/null | sed 's/^[[:space:]]*/failed=/'
fi
true
"""
_COMING_UP = frozenset({"initializing", "starting"})
_UP = frozenset({"running", "degraded"})
"""Degraded is up with a failed unit (systemctl(1), is-system-running), which is then told by name."""


def judge(facts: Facts) -> str | None:
    """None while the system is still coming up."""
    if not (manager := facts.one("manager")):
        raise Inapplicable("the guest has neither systemd nor OpenRC to ask")
    failed = sorted({line.split()[0] for line in facts.all("failed") if line})
    if failed:
        raise GaveUp(f"failed: {', '.join(failed)[:400]}")
    if manager != "systemd":
        return f"{manager} knows of no crashed service"
    state = facts.one("state")
    if state in _COMING_UP:
        return None
    if state not in _UP:
        raise GaveUp(f"systemd calls the system {state[:40] or 'nothing'}, expected running")
    return f"systemd is {state}, no unit has failed"


def _run(guest: Guest) -> str:
    deadline = time.monotonic() + guest.patience.quiet

    def settled() -> str | None:
        facts = ask(guest, _SCRIPT)
        found = judge(facts)
        if found is None and time.monotonic() >= deadline:
            raise GaveUp(
                f"systemd is still {facts.one('state')} and waits for {', '.join(facts.all('job'))[:300] or '?'}"
            )
        return found

    return guest.wait(settled, pause=5.0)


CHECK = Check(name=UNITS, skip=with_login, run=_run, after=(SSH,))
