"""The guest opens connections: to a server on the host's side, by IPv4 and IPv6, with whatever program it has."""

from __future__ import annotations

import socket

from kmi.boot.checks import network
from kmi.boot.checks.check import Check, Guest, Inapplicable, with_login
from kmi.boot.checks.linux import Facts, eventually, script
from kmi.boot.console import GaveUp
from kmi.model.checks import IPV6, SSH, TCP_OUT

HOST, HOST6 = network.GATEWAY, "fd10:0:2::1"
"""The gateway's addresses, which QEMU's user network leads to the host's loopback (``kmi.boot.hardware``)."""

_FETCH = r"""
unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY
host=%(host)s port=%(port)d
case $host in *:*) url="http://[$host]:$port/" ;; *) url="http://$host:$port/" ;; esac
has() { command -v "$1" >/dev/null && echo "with=$1"; }
request() { printf 'GET / HTTP/1.0\r\nHost: kmi\r\n\r\n'; }
if has curl; then said=$(curl -sS -m 30 "$url" 2>&1)
elif has wget; then said=$(wget -q -t 1 -T 30 -O - "$url" 2>&1)
elif has python3; then
  said=$(python3 -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=30).read().decode())' \
    "$url" 2>&1)
elif has bash; then
  export host port
  said=$(bash -c 'exec 3<>"/dev/tcp/$host/$port" && printf "GET / HTTP/1.0\r\n\r\n" >&3 && cat <&3' 2>&1)
elif has nc; then said=$(request | nc -w 30 "$host" "$port" 2>&1)
elif has fetch; then said=$(fetch -q -T 30 -o - "$url" 2>&1)
fi
echo "status=$?"
echo "$said" | sed 's/^/said=/'
"""


def judge(facts: Facts, nonce: str, where: str) -> str:
    """What was fetched ends with ``nonce``; some programs give the response's head as well."""
    if not (program := facts.one("with")):
        raise Inapplicable("the guest has none of curl, wget, python3, bash, nc and fetch to connect with")
    said = [line for line in facts.all("said") if line]
    if nonce not in said:
        last = said[-1] if said else "nothing"
        raise GaveUp(
            f"{program} ended with {facts.one('status')} on {where}, and what came is not the server's: {last[:200]}"
        )
    return f"{program} fetched from {where}"


def _fetch(guest: Guest, host: str) -> str:
    body = _FETCH % {"host": host, "port": guest.outside.port}
    facts = Facts.of(guest.ask(script(body), seconds=guest.patience.quiet))
    return judge(facts, guest.outside.nonce, f"{host} port {guest.outside.port}")


def _tcp(guest: Guest) -> str:
    return _fetch(guest, HOST)


def _ipv6(guest: Guest) -> str:
    address = eventually(guest, lambda: network.judge_ipv6(network.look(guest)))
    if socket.AF_INET6 not in guest.outside.families:
        raise Inapplicable(f"the guest has {address}, but this host has no IPv6 for it to connect to")
    return f"{address}; {_fetch(guest, HOST6)}"


TCP = Check(name=TCP_OUT, skip=with_login, run=_tcp, after=(SSH,))
OVER_IPV6 = Check(name=IPV6, skip=with_login, run=_ipv6, after=(SSH,))
