import socket
from types import SimpleNamespace

import pytest

from kmi.boot.checks import Inapplicable, network, outward
from kmi.boot.console import GaveUp

GOOD = r"""system=Linux
address=1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever
address=2: ens4    inet 10.0.2.2/24 metric 100 brd 10.0.2.255 scope global dynamic ens4\       valid_lft 86293sec
six=1: lo    inet6 ::1/128 scope host \       valid_lft forever preferred_lft forever
six=2: ens4    inet6 fd10:0:2:0:5054:ff:fe12:3456/64 scope global dynamic mngtmpaddr \       valid_lft 86396sec
six=2: ens4    inet6 fe80::5054:ff:fe12:3456/64 scope link \       valid_lft forever preferred_lft forever
route=default via 10.0.2.1 dev ens4 proto dhcp src 10.0.2.2 metric 100
interface=ens4 1400 virtio_net
interface=lo 65536 
process=agetty
process=systemd-network
"""  # noqa: W291 -- as the guest says it
BUSYBOX = r"""system=Linux
address=2: eth0    inet 10.0.2.2/24 scope global eth0\       valid_lft forever preferred_lft forever
route=default via 10.0.2.1 dev eth0  metric 202
interface=eth0 1400 virtio_net
process=udhcpc
"""


def test_an_address_with_a_lease_passes(guest):
    assert network.BY_DHCP.run(guest(GOOD)) == "10.0.2.2/24 on ens4 by way of 10.0.2.1, with the lifetime of a lease"


def test_a_route_of_dhcp_or_its_client_is_proof_as_well(guest):
    unmarked = GOOD.replace("dynamic", "").replace("valid_lft 86293sec", "valid_lft forever")
    assert "with a route that DHCP gave" in network.BY_DHCP.run(guest(unmarked))
    assert "with udhcpc running" in network.BY_DHCP.run(guest(BUSYBOX))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("route=default via 10.0.2.1 dev eth0  metric 202", "", "no default route by 10.0.2.1; the guest has none"),
        ("via 10.0.2.1", "via 10.0.2.9", r"the guest has default via 10.0.2.9 dev eth0"),
        ("10.0.2.2/24", "10.0.2.15/24", "eth0 has 10.0.2.15/24, expected 10.0.2.2/24"),
        ("2: eth0    inet", "2: eth1    inet", "eth0 has no address"),
        ("1400 virtio_net", "1400 e1000", "by eth0 of e1000, expected virtio_net"),
        ("interface=eth0 1400 virtio_net", "", "by eth0 of no driver"),
        ("process=udhcpc", "process=sshd", "no DHCP client runs: it is fixed"),
        ("process=", "static=/etc/network/interfaces\nprocess=", "from /etc/network/interfaces"),
    ],
)
def test_a_network_without_dhcp_fails_by_what_is_seen(guest, old, new, words):
    with pytest.raises(GaveUp, match=words):
        network.BY_DHCP.run(guest(BUSYBOX.replace(old, new)))


def test_the_mtu_of_the_default_route(guest):
    assert network.RIGHT_MTU.run(guest(GOOD)) == "1400 on ens4"
    with pytest.raises(GaveUp, match="ens4 has an MTU of 1500, and the card says 1400"):
        network.RIGHT_MTU.run(guest(GOOD.replace("ens4 1400", "ens4 1500")))
    with pytest.raises(GaveUp, match="tells no MTU of ens4"):
        network.RIGHT_MTU.run(guest(GOOD.replace("ens4 1400", "ens4 many")))


OUTSIDE = SimpleNamespace(port=4711, nonce="5ec2e7", families=(socket.AF_INET, socket.AF_INET6))
FETCHED = "with=curl\nstatus=0\nsaid=5ec2e7\n"
WITH_HEAD = "with=bash\nstatus=0\nsaid=HTTP/1.0 200 OK\r\nsaid=Content-Length: 7\r\nsaid=\r\nsaid=5ec2e7\n"


@pytest.mark.parametrize(("said", "program"), [(FETCHED, "curl"), (WITH_HEAD, "bash")])
def test_a_fetched_nonce_passes(guest, said, program):
    found = guest(said, outside=OUTSIDE)
    assert outward.TCP.run(found) == f"{program} fetched from 10.0.2.1 port 4711"
    assert "host=10.0.2.1 port=4711" in found.ask.asked[0]


@pytest.mark.parametrize(
    "said",
    [
        "with=curl\nstatus=7\nsaid=curl: (7) Failed to connect to 10.0.2.1 port 4711\n",
        "with=wget\nstatus=0\nsaid=<html>a proxy's own page</html>\n",
        "with=nc\nstatus=0\nsaid=\n",
        "with=curl\nstatus=0\nsaid=x5ec2e7x\n",
    ],
)
def test_anything_but_the_nonce_fails(guest, said):
    with pytest.raises(GaveUp, match="what came is not the server's"):
        outward.TCP.run(guest(said, outside=OUTSIDE))


def test_a_guest_without_any_program_to_connect_with_is_not_asked(guest):
    with pytest.raises(Inapplicable, match="none of curl"):
        outward.TCP.run(guest("status=0\nsaid=\n", outside=OUTSIDE))


def test_ipv6_is_taken_and_used(guest):
    found = guest(GOOD, FETCHED, outside=OUTSIDE)
    seen = outward.OVER_IPV6.run(found)
    assert seen == "fd10:0:2:0:5054:ff:fe12:3456; curl fetched from fd10:0:2::1 port 4711"
    assert "host=fd10:0:2::1 port=4711" in found.ask.asked[1]


def test_ipv6_that_is_not_taken_fails(guest):
    for broken in (BUSYBOX, GOOD.replace("fd10:0:2:", "fd11:0:2:"), GOOD.replace("mngtmpaddr", "tentative")):
        with pytest.raises(GaveUp, match="no address in fd10:0:2::/64"):
            outward.OVER_IPV6.run(guest(broken, FETCHED, outside=OUTSIDE))


def test_ipv6_that_leads_nowhere_fails(guest):
    with pytest.raises(GaveUp, match="curl ended with 28 on fd10:0:2::1"):
        outward.OVER_IPV6.run(guest(GOOD, "with=curl\nstatus=28\nsaid=curl: (28) timeout\n", outside=OUTSIDE))


def test_a_host_without_ipv6_cannot_be_connected_to(guest):
    only4 = SimpleNamespace(port=1, nonce="n", families=(socket.AF_INET,))
    with pytest.raises(Inapplicable, match="this host has no IPv6"):
        outward.OVER_IPV6.run(guest(GOOD, outside=only4))
    with pytest.raises(GaveUp, match="no address"):
        outward.OVER_IPV6.run(guest(BUSYBOX, outside=only4))
