"""Faults, each of which is one change of a healthy image, with the check that has to report it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kmi.boot.seed import SeedKind
from kmi.model import checks
from kmi.model.checks import (
    AGENT_KEYS,
    AGENT_NETWORK,
    AGENT_SYSTEM,
    CLOCK,
    CLOUD_INIT,
    DHCP,
    DNS,
    FOOTPRINT,
    GUEST_AGENT,
    IDENTITY,
    IPV6,
    LOGIN_PROMPT,
    MTU,
    PACKAGES,
    PROVISIONED,
    REBOOT,
    ROOT_GROWN,
    SECURITY,
    SHUTDOWN,
    SPARE_DISK,
    SSH,
    SSH_CLOSED,
    TCP_OUT,
    TRIM,
    UNITS,
)  # fmt: skip
from kmi.model.stages import Outcome
from tests.e2e import breaking
from tests.e2e.breaking import Files, writable

Seeds = tuple[SeedKind | None, ...]
SEEDED: Seeds = (SeedKind.NOCLOUD,)
UNSEEDED: Seeds = (None,)
BOTH: Seeds = (SeedKind.NOCLOUD, None)

BY_LOGIN = (PROVISIONED, SSH_CLOSED, ROOT_GROWN, TRIM, SPARE_DISK, DHCP, DNS, TCP_OUT, IPV6, MTU, PACKAGES, SECURITY,
            UNITS, CLOCK, FOOTPRINT)  # fmt: skip
"""What looks by way of SSH, and so is skipped where nobody gets in."""
BY_AGENT = (AGENT_SYSTEM, AGENT_NETWORK, AGENT_KEYS, REBOOT)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """``change`` breaks a disk so that ``check`` has to fail, with words that match ``says``, on a boot of each kind in
    ``seeds``; ``fails_too`` then fail as well, because what they ask for is gone with it, and ``untold`` cannot be
    asked."""

    name: str
    check: str
    says: str
    change: Callable[[Files], None]
    seeds: Seeds = SEEDED
    fails_too: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A disk with ``faults``, and the boots that show them."""

    name: str
    faults: tuple[Fault, ...]
    seeds: Seeds = field(default=SEEDED)

    def expected(self, machine: str) -> dict[str, Outcome]:
        """How each check that is due on such a boot has to end."""
        return {name: self._expected(name) for name in checks.due(machine)}

    def _expected(self, name: str) -> Outcome:
        if any(name == fault.check or name in fault.fails_too for fault in self.faults):
            return Outcome.FAILED
        return Outcome.SKIPPED if any(name in fault.untold for fault in self.faults) else Outcome.PASSED


def broken_copy(healthy: Path, faults: Iterable[Fault], folder: Path) -> Path:
    """A raw disk like ``healthy`` but for the faults."""
    raw = folder / "disk.raw"
    subprocess.run(["cp", "--sparse=always", healthy, raw], check=True)
    with writable(raw, folder) as files:
        for fault in faults:
            fault.change(files)
    return raw


FAULTS = (
    Fault(
        name="kernel-missing",
        check=LOGIN_PROMPT,
        change=breaking.no_kernel,
        says="came as far as the (?:boot loader|firmware)",
        fails_too=(GUEST_AGENT, CLOUD_INIT, SSH),
        untold=(*BY_LOGIN, *BY_AGENT, SHUTDOWN),
    ),
    Fault(
        name="wrong-architecture",
        check=LOGIN_PROMPT,
        change=breaking.wrong_architecture,
        says="came as far as the firmware",
        fails_too=(GUEST_AGENT, CLOUD_INIT, SSH),
        untold=(*BY_LOGIN, *BY_AGENT, SHUTDOWN),
    ),
    Fault(
        name="agent-masked",
        check=GUEST_AGENT,
        change=breaking.agent_masked,
        says="came as far as the login prompt",
        untold=BY_AGENT,
    ),
    Fault(
        name="cloud-init-disabled",
        check=CLOUD_INIT,
        change=breaking.cloud_init_disabled,
        says="came as far as the login prompt",
        fails_too=(SSH,),
        untold=BY_LOGIN,
    ),
    Fault(
        name="cloud-init-errors",
        check=CLOUD_INIT,
        change=breaking.cloud_init_errors,
        says=r"finished with errors: \('bootcmd'",
        fails_too=(UNITS,),
    ),
    Fault(
        name="network-off",
        check=SSH,
        change=breaking.network_off,
        says="came as far as the login prompt",
        fails_too=(AGENT_NETWORK, AGENT_KEYS),
        untold=BY_LOGIN,
    ),
    Fault(name="host-name-kept", check=PROVISIONED, change=breaking.host_name_kept, says="the host name is '"),
    Fault(name="password-login", check=SSH_CLOSED, change=breaking.password_login, says="lets debian try password"),
    Fault(name="root-login", check=SSH_CLOSED, change=breaking.root_login, says="logs in as root"),
    Fault(name="other-release", check=AGENT_SYSTEM, change=breaking.other_release, says="version-id '11'"),
    Fault(
        name="agent-alone",
        check=AGENT_NETWORK,
        change=breaking.agent_alone,
        says=r"no interface has 10\.0\.2\.2: lo 127\.0\.0\.1",
    ),
    Fault(
        name="agent-filter",
        check=AGENT_KEYS,
        change=breaking.agent_filter,
        says="does not offer guest-ssh-add-authorized-keys",
        seeds=BOTH,
    ),
    Fault(
        name="no-growpart",
        check=ROOT_GROWN,
        change=breaking.no_growpart,
        says=r"has 2\.\d GiB on vda1, expected at least 90%",
    ),
    Fault(name="failing-trim", check=TRIM, change=breaking.failing_trim, says="FITRIM ioctl failed"),
    Fault(name="no-mkfs", check=SPARE_DISK, change=breaking.no_mkfs, says=r"none of mkfs\.ext4"),
    Fault(name="static-address", check=DHCP, change=breaking.static_address, says="from /etc/netplan/60-static.yaml"),
    Fault(
        name="other-name-server",
        check=DNS,
        change=breaking.other_name_server,
        says=r"names 192\.0\.2\.1 and not 10\.0\.2\.3",
    ),
    Fault(
        name="no-resolver",
        check=DNS,
        change=breaking.no_resolver,
        says=r"getent finds no address of cloud\.debian\.org",
    ),
    Fault(name="no-way-out", check=TCP_OUT, change=breaking.no_way_out, says=r"wget ended with \d+ on 10\.0\.2\.1"),
    Fault(name="no-ipv6", check=IPV6, change=breaking.no_ipv6, says="no address in fd10:0:2::/64"),
    Fault(name="small-mtu", check=MTU, change=breaking.small_mtu, says="MTU of 1280, and the card says 1400"),
    Fault(name="broken-program", check=PACKAGES, change=breaking.broken_program, says="/usr/bin/tmux does not start"),
    Fault(name="no-apparmor", check=SECURITY, change=breaking.no_apparmor, says=r"runs without it \(apparmor=0\)"),
    Fault(name="failing-unit", check=UNITS, change=breaking.failing_unit, says=r"failed: broken\.service"),
    Fault(name="wrong-clock", check=CLOCK, change=breaking.wrong_clock, says=r"the clock is 3[56]\d\d s ahead"),
    Fault(name="eats-memory", check=FOOTPRINT, change=breaking.eats_memory, says="less than half is available"),
    Fault(
        name="power-key-reboots",
        check=SHUTDOWN,
        change=breaking.power_key_reboots,
        says="ended by guest-reset, expected guest-shutdown",
    ),
    Fault(
        name="powers-off-instead",
        check=REBOOT,
        change=breaking.powers_off_instead,
        says="ended by guest-shutdown, expected guest-reset",
        seeds=UNSEEDED,
    ),
    Fault(
        name="baked-machine-id",
        check=IDENTITY,
        change=breaking.baked_machine_id,
        says="machine-id 0123456789abcdef",
        seeds=BOTH,
    ),
    Fault(
        name="baked-host-keys", check=IDENTITY, change=breaking.baked_host_keys, says="the same host keys", seeds=BOTH
    ),
)
BY_NAME = {fault.name: fault for fault in FAULTS}


def _of(name: str, *faults: str, seeds: Seeds = SEEDED) -> Broken:
    return Broken(name=name, faults=tuple(BY_NAME[one] for one in faults), seeds=seeds)


TOGETHER = (
    _of("kernel-missing", "kernel-missing"),
    _of("many", "cloud-init-errors", "host-name-kept", "password-login", "other-release", "agent-alone", "agent-filter",
        "no-growpart", "failing-trim", "no-mkfs", "static-address", "no-resolver", "no-way-out", "no-ipv6",
        "small-mtu", "broken-program", "no-apparmor", "failing-unit", "wrong-clock", "eats-memory",
        "power-key-reboots", "baked-machine-id", "baked-host-keys"),
    _of("shut-out", "cloud-init-disabled", "network-off"),
    _of("agent-masked", "agent-masked"),
    _of("no-seed", "agent-filter", "powers-off-instead", "baked-machine-id", "baked-host-keys", seeds=UNSEEDED),
)  # fmt: skip
"""Five boots that carry a fault for every check: what one of them breaks does not keep another from being seen."""
ALONE = tuple(_of(fault.name, fault.name, seeds=fault.seeds) for fault in FAULTS)
