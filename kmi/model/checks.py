"""The boot checks by name: what each one stands for, and on which boots it is due.

Boot runs them, policy gates on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Round(StrEnum):
    """The kinds of boots, told apart by the machine's name in a result: ``amd64/bios`` (or ``amd64/kubevirt``) with a
    seed, ``amd64/bios/no-seed`` without any provisioning disk, and ``amd64`` for what is compared across boots."""

    SEEDED = "seeded"
    UNSEEDED = "no-seed"
    ACROSS = "across"


def round_of(machine: str) -> Round:
    """The kind of boot that a machine's name tells."""
    if "/" not in machine:
        return Round.ACROSS
    return Round.UNSEEDED if machine.endswith(f"/{Round.UNSEEDED}") else Round.SEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A check: what it stands for, and the boots on which it is due. A cluster (``kmi test --on kubevirt``) can look
    only at ``cluster`` ones."""

    criterion: str
    rounds: tuple[Round, ...] = (Round.SEEDED,)
    cluster: bool = False


LOGIN_PROMPT = "login-prompt"
GUEST_AGENT = "guest-agent"
CLOUD_INIT = "cloud-init"
SSH = "ssh"
PROVISIONED = "provisioned"
SSH_CLOSED = "ssh-closed"
AGENT_SYSTEM = "agent-system"
AGENT_NETWORK = "agent-network"
AGENT_KEYS = "agent-ssh-keys"
ROOT_GROWN = "root-grown"
TRIM = "fstrim"
SPARE_DISK = "spare-disk"
DHCP = "dhcp"
DNS = "dns"
TCP_OUT = "tcp-out"
IPV6 = "ipv6"
MTU = "mtu"
PACKAGES = "packages"
SECURITY = "security-policy"
UNITS = "units"
CLOCK = "clock"
FOOTPRINT = "footprint"
SHUTDOWN = "acpi-shutdown"
REBOOT = "agent-reboot"
IDENTITY = "identity"

_BOTH = (Round.SEEDED, Round.UNSEEDED)

CHECKS: dict[str, Checked] = {
    LOGIN_PROMPT: Checked(criterion="boots from the firmware to a login prompt on the serial console",
                          rounds=_BOTH, cluster=True),
    GUEST_AGENT: Checked(criterion="the QEMU guest agent answers and offers the commands that KubeVirt demands",
                         rounds=_BOTH, cluster=True),
    CLOUD_INIT: Checked(criterion="cloud-init (or Ignition) finds KubeVirt's disk and finishes without errors",
                        cluster=True),
    SSH: Checked(criterion="takes the default user's SSH key", cluster=True),
    PROVISIONED: Checked(criterion="user, host name and a written file are as the seed says"),
    SSH_CLOSED: Checked(criterion="SSH takes no password, and nobody logs in as root"),
    AGENT_SYSTEM: Checked(criterion="the guest agent names the system that the manifest names"),
    AGENT_NETWORK: Checked(criterion="the guest agent tells the address that the network gave"),
    AGENT_KEYS: Checked(criterion="SSH keys are injected and removed through the guest agent, with and without a seed",
                        rounds=_BOTH),
    ROOT_GROWN: Checked(criterion="the root file system grows to the size of the disk"),
    TRIM: Checked(criterion="fstrim gives free blocks back"),
    SPARE_DISK: Checked(criterion="a second virtio disk is formatted, written and read back"),
    DHCP: Checked(criterion="the network is configured by DHCP"),
    DNS: Checked(criterion="names are resolved by the name server that DHCP gives"),
    TCP_OUT: Checked(criterion="opens TCP connections to the outside"),
    IPV6: Checked(criterion="takes an IPv6 address where one is offered, and connects by it"),
    MTU: Checked(criterion="takes the MTU that the network card gives (1400)"),
    PACKAGES: Checked(criterion="the packages of the manifest are there and run"),
    SECURITY: Checked(criterion="SELinux, AppArmor and firewall run as the distro configures them"),
    UNITS: Checked(criterion="no unit has failed"),
    CLOCK: Checked(criterion="the clock is right"),
    FOOTPRINT: Checked(criterion="boot time and memory in use, which leaves half of the memory free"),
    SHUTDOWN: Checked(criterion="shuts down cleanly when ACPI's power button is pressed"),
    REBOOT: Checked(criterion="reboots when the guest agent is asked for it", rounds=(Round.UNSEEDED,)),
    IDENTITY: Checked(criterion="machine-id and SSH host keys differ between two boots of the same image",
                      rounds=(Round.ACROSS,)),
}  # fmt: skip
"""Every check, in the order in which they run."""

CRITERIA: dict[str, str] = {name: check.criterion for name, check in CHECKS.items()}

ESSENTIAL = frozenset({LOGIN_PROMPT, GUEST_AGENT, CLOUD_INIT, SSH})
"""Where a tier blocks on one of these, being skipped is no excuse: an image without a guest agent answers nobody. Any
other check may be skipped where it does not apply to such an image, with the reason."""


def due(machine: str) -> tuple[str, ...]:
    """The checks that a machine of this name has to answer, in order."""
    kind = round_of(machine)
    cluster = machine.endswith("/kubevirt")
    return tuple(name for name, check in CHECKS.items() if kind in check.rounds and (check.cluster or not cluster))


TRUST, UPSTREAM_CATALOG = "trust", "upstream-catalog"

WAIVABLE = frozenset({CLOUD_INIT, UPSTREAM_CATALOG, TRUST})
"""The only criteria (``kmi.policy.criteria``) that a manifest may waive, each to a date: the field's own two, and
kmi's for publishers who sign nothing."""
