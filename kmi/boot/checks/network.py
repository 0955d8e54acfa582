"""The network that KubeVirt's masquerade binding gives: an address by DHCP, the pod's MTU, and IPv6 where offered.

KubeVirt's DHCP server hands out 10.0.2.2/24 with the gateway 10.0.2.1; QEMU's user network stands for it with the same
numbers (``kmi.boot.hardware``). That an address came by DHCP has no single mark: networkd, NetworkManager, wicked and
dhclient give it the lease's lifetime (ip-address(8), ``dynamic``), the first two and dhcpcd mark the route ``proto
dhcp`` (ip-route(8)), and busybox's udhcpc leaves neither, but runs on.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, IPv6Network

from kmi.boot.checks.check import Check, Guest, with_login
from kmi.boot.checks.linux import Facts, ask, eventually, number
from kmi.boot.console import GaveUp
from kmi.model.checks import DHCP, MTU, SSH

ADDRESS, GATEWAY, NAME_SERVER = "10.0.2.2/24", "10.0.2.1", "10.0.2.3"
PREFIX = IPv6Network("fd10:0:2::/64")

_CLIENTS = frozenset({"connmand", "dhclient", "dhcpcd", "udhcpc"})
"""DHCP clients that may leave neither mark, by /proc/PID/comm."""
_DYNAMIC = re.compile(r"\bdynamic\b|\bvalid_lft \d+sec\b")
_ROUTE = re.compile(r"default via (\S+) dev (\S+)")

_SCRIPT = r"""
ip -4 -o addr show | sed 's/^/address=/'
ip -6 -o addr show | sed 's/^/six=/'
ip -4 route show default | sed 's/^/route=/'
for one in /sys/class/net/*/; do
  one=$(basename "$one")
  driver=$(basename "$(readlink -f "/sys/class/net/$one/device/driver")")
  echo "interface=$one $(cat "/sys/class/net/$one/mtu" 2>/dev/null) $driver"
done
cat /proc/[0-9]*/comm 2>/dev/null | sort -u | sed 's/^/process=/'
for place in /etc/network /etc/netplan /etc/systemd/network /etc/NetworkManager /etc/sysconfig /etc/conf.d \
    /etc/rc.conf /etc/dhcpcd.conf /etc/config; do
  grep -rlsF 10.0.2.2 "$place" | sed 's/^/static=/'
done
true
"""


def judge_dhcp(facts: Facts) -> str:
    device = default_device(facts)
    addresses = [words for words in map(str.split, facts.all("address")) if len(words) > 3]
    found = [words[3] for words in addresses if words[1] == device]
    if ADDRESS not in found:
        raise GaveUp(f"{device} has {' and '.join(found)[:200] or 'no address'}, expected {ADDRESS}")
    if (driver := _interface(facts, device)[1]) != "virtio_net":
        raise GaveUp(f"the default route leads by {device} of {driver or 'no driver'}, expected virtio_net")
    if files := facts.all("static"):
        raise GaveUp(f"{ADDRESS} did not come by DHCP but from {', '.join(files)[:300]}")
    line = next(line for line in facts.all("address") if line.split()[1:4:2] == [device, ADDRESS])
    return f"{ADDRESS} on {device} by way of {GATEWAY}, {_proof(facts, line)}"


def _proof(facts: Facts, address: str) -> str:
    if _DYNAMIC.search(address):
        return "with the lifetime of a lease"
    if any("proto dhcp" in route for route in facts.all("route")):
        return "with a route that DHCP gave"
    if clients := sorted(_CLIENTS.intersection(facts.all("process"))):
        return f"with {clients[0]} running"
    raise GaveUp(f"{ADDRESS} has no lifetime, its route is not DHCP's, and no DHCP client runs: it is fixed")


def judge_mtu(facts: Facts, expected: int) -> str:
    device = default_device(facts)
    found = number(_interface(facts, device)[0], f"MTU of {device}")
    if found != expected:
        raise GaveUp(f"{device} has an MTU of {found}, and the card says {expected}")
    return f"{found} on {device}"


def judge_ipv6(facts: Facts) -> str:
    """The address in the offered prefix. GaveUp if there is none that can be used."""
    rows = [words for words in map(str.split, facts.all("six")) if len(words) > 3]
    found = [words[3] for words in rows]
    offered = [words[3] for words in rows if _within(words[3]) and not {"tentative", "dadfailed"} & set(words)]
    if not offered:
        raise GaveUp(
            f"no address in {PREFIX}, which routers advertise; the guest has {', '.join(found)[:200] or 'none'}"
        )
    return offered[0].partition("/")[0]


def default_device(facts: Facts) -> str:
    """The interface of the default route by the gateway."""
    routes = [match.groups() for match in map(_ROUTE.match, facts.all("route")) if match]
    device = next((device for gateway, device in routes if gateway == GATEWAY), None)
    if device is None:
        told = "; ".join(facts.all("route"))[:200] or "none"
        raise GaveUp(f"no default route by {GATEWAY}; the guest has {told}")
    return str(device)


def _interface(facts: Facts, device: str) -> tuple[str, str]:
    """Its MTU and its driver's name, each empty if not told."""
    rows = [row.split(" ") for row in facts.all("interface")]
    row = next((row for row in rows if row[0] == device and len(row) == 3), ["", "", ""])
    return row[1], row[2]


def _within(text: str) -> bool:
    try:
        return IPv6Address(text.partition("/")[0]) in PREFIX
    except ValueError:
        return False


def look(guest: Guest) -> Facts:
    """What the guest's network is like."""
    return ask(guest, _SCRIPT)


def _dhcp(guest: Guest) -> str:
    return eventually(guest, lambda: judge_dhcp(look(guest)))


def _mtu(guest: Guest) -> str:
    return eventually(guest, lambda: judge_mtu(look(guest), guest.machine.hardware.mtu))


BY_DHCP = Check(name=DHCP, skip=with_login, run=_dhcp, after=(SSH,))
RIGHT_MTU = Check(name=MTU, skip=with_login, run=_mtu, after=(SSH,))
