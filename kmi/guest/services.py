"""Services that start with the system, by the init system that the guest has."""

from __future__ import annotations

import shlex

from kmi.host.guestfs import Appliance

_OPENRC = ("/sbin/rc-update", "/usr/sbin/rc-update")
_RUNLEVEL = "default"


def enabling(guest: Appliance, unit: str) -> str:
    """The shell command that enables it: by OpenRC (rc-update(8)) where the guest has that and no systemctl, such as
    Alpine, else by systemctl(1)."""
    systemd = any(guest.exists(f"{folder}/systemctl") for folder in ("/bin", "/usr/bin"))
    if not systemd and any(guest.exists(path) for path in _OPENRC):
        return shlex.join(["rc-update", "add", unit, _RUNLEVEL])
    return shlex.join(["systemctl", "enable", unit])
