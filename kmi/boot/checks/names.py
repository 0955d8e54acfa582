"""Names are resolved by the name server that DHCP gave.

QEMU's user network answers at 10.0.2.3 by asking the host's own resolver, so a name proves something only where the
host resolves it; which name server the guest goes to can be seen anywhere.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from kmi.boot.checks.check import Check, Guest, Inapplicable, with_login
from kmi.boot.checks.linux import Facts, eventually, script
from kmi.boot.checks.network import NAME_SERVER
from kmi.boot.console import GaveUp
from kmi.model.checks import DNS, SSH
from kmi.model.metadata import Metadata

_NAME = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}")
_STUBS = ("127.", "::1")

_SERVERS = r"""
sed -n 's/^[[:space:]]*nameserver[[:space:]]*/server=/p' /etc/resolv.conf 2>/dev/null
for file in /run/systemd/resolve/resolv.conf /run/NetworkManager/*resolv.conf /run/dnsmasq/resolv.conf \
    /run/netconfig/resolv.conf /run/connman/resolv.conf; do
  sed -n 's/^[[:space:]]*nameserver[[:space:]]*/above=/p' "$file" 2>/dev/null
done
resolvectl dns 2>/dev/null | sed -n 's/^[^:]*: *//p' | tr ' ' '\n' | sed 's/^/above=/'
true
"""

_RESOLVE = r"""
name=%s
look() {
  if command -v getent >/dev/null; then echo with=getent; said=$(getent hosts "$name" 2>&1)
  elif command -v resolvectl >/dev/null; then echo with=resolvectl; said=$(resolvectl query "$name" 2>&1)
  elif command -v host >/dev/null; then echo with=host; said=$(host "$name" 2>&1)
  elif command -v nslookup >/dev/null; then echo with=nslookup; said=$(nslookup "$name" 2>&1)
  fi
}
look || look || look
echo "status=$?"
echo "said=$(echo "$said" | tail -n 1)"
"""


def judge_servers(facts: Facts) -> str:
    """A resolver on the guest's own loopback counts by whom it asks. resolv.conf(5): without any line it is the
    loopback."""
    servers = _addresses(facts.all("server")) or ["127.0.0.1"]
    above = _addresses(facts.all("above"))
    if NAME_SERVER in servers:
        return f"{NAME_SERVER} in /etc/resolv.conf"
    if not servers[0].startswith(_STUBS):
        raise GaveUp(f"/etc/resolv.conf names {', '.join(servers)[:200]} and not {NAME_SERVER}, which DHCP gives")
    if NAME_SERVER not in above:
        told = ", ".join(dict.fromkeys(above))[:200] or "nobody"
        raise GaveUp(f"the resolver at {servers[0]} asks {told} and not {NAME_SERVER}, which DHCP gives")
    return f"{NAME_SERVER} by way of the resolver at {servers[0]}"


def judge_name(facts: Facts, name: str) -> str:
    program, said = facts.one("with"), facts.one("said")[:200]
    if not program:
        raise Inapplicable("the guest has none of getent, resolvectl, host and nslookup")
    if facts.number("status") != 0:
        raise GaveUp(f"{program} finds no address of {name}, which this host resolves: {said or 'it says nothing'}")
    return f"{program} resolves {name}"


def candidates(metadata: Metadata) -> tuple[str, ...]:
    """Public host names that the image tells, which anybody can be expected to resolve."""
    told = (metadata["documentation"], metadata["download"])
    return tuple(dict.fromkeys(name for name in map(_host, told) if _NAME.fullmatch(name)))


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _addresses(texts: Iterable[str]) -> list[str]:
    """resolvectl writes ADDRESS%INTERFACE#NAME."""
    found = []
    for text in texts:
        try:
            found.append(str(ip_address(re.split("[#%]", text, maxsplit=1)[0])))
        except ValueError:
            continue
    return found


def resolves(name: str) -> bool:
    """Whether this host finds an address."""
    try:
        return bool(socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM))
    except OSError:
        return False


def _run(guest: Guest) -> str:
    server = eventually(guest, lambda: judge_servers(Facts.of(guest.ask(script(_SERVERS)))))
    names = candidates(guest.metadata)
    name = next(filter(resolves, names), None)
    if name is None:
        raise Inapplicable(
            f"this host itself resolves no {' or '.join(names) or 'name of the image'}; given is {server}"
        )
    asked = guest.ask(script(_RESOLVE % name), seconds=guest.patience.quiet)
    return f"{judge_name(Facts.of(asked), name)}; {server}"


CHECK = Check(name=DNS, skip=with_login, run=_run, after=(SSH,))
