"""The checks, in the order in which they run (``kmi.model.checks``)."""

from kmi.boot.checks import (
    agent_keys,
    agent_network,
    agent_system,
    cloud_init,
    ending,
    guest_agent,
    login_prompt,
    names,
    network,
    outward,
    packages,
    provisioned,
    root_disk,
    running,
    security,
    spare_disk,
    ssh_closed,
    ssh_login,
    units,
)
from kmi.boot.checks.check import Check, Given, Guest, Inapplicable
from kmi.model.checks import CHECKS

_PIECES: tuple[Check, ...] = (
    login_prompt.CHECK,
    guest_agent.CHECK,
    cloud_init.CHECK,
    ssh_login.CHECK,
    provisioned.CHECK,
    ssh_closed.CHECK,
    agent_system.CHECK,
    agent_network.CHECK,
    agent_keys.CHECK,
    root_disk.GROWN,
    root_disk.TRIMMED,
    spare_disk.CHECK,
    network.BY_DHCP,
    names.CHECK,
    outward.TCP,
    outward.OVER_IPV6,
    network.RIGHT_MTU,
    packages.CHECK,
    security.CHECK,
    units.CHECK,
    running.IN_TIME,
    running.MODEST,
    *ending.CHECKS,
)
BY_NAME: dict[str, Check] = {piece.name: piece for piece in _PIECES}
ALL: tuple[Check, ...] = tuple(BY_NAME[name] for name in CHECKS if name in BY_NAME)

__all__ = ["ALL", "BY_NAME", "Check", "Given", "Guest", "Inapplicable"]
