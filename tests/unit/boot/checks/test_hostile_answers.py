"""Whatever a guest's shell says, a check passes, gives up, or does not apply: nothing else comes out of it."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmi.boot.checks import Inapplicable, names, network, outward, packages, root_disk, running, security, spare_disk
from kmi.boot.checks import units as units_
from kmi.boot.console import GaveUp

CHECKS = {
    check.name: check
    for check in (
        root_disk.GROWN, root_disk.TRIMMED, spare_disk.CHECK, network.BY_DHCP, network.RIGHT_MTU, names.CHECK,
        outward.TCP, outward.OVER_IPV6, packages.CHECK, security.CHECK, units_.CHECK, running.IN_TIME, running.MODEST,
    )
}  # fmt: skip
NAMES = """
root type source device disk sectors other kib discard lacking status said spare holders failed read address six route
interface process static with server above manager version ran selinux enforce label cmdline apparmor profile ufw
ufw-status service state job MemTotal MemAvailable seconds
""".split()  # noqa: SIM905 -- as words they can be read
VALUES = (
    "", " ", "0", "-1", "9" * 40, "٣", "NaN", "a", "a b c", "2: e inet 10.0.2.2/24 dynamic",
    "2: e inet6 fd10:0:2::5/64",
    "default via 10.0.2.1 dev e", "e 1400 virtio_net", "10.0.2.3", "127.0.0.53", "systemd", "running", "enforcing",
    "1 (agetty) S", "apparmor", "127 /usr/bin/x", "\x1b[2J", "\x00", "=", "(", "1 (" + ") " * 30,
)  # fmt: skip
LINES = st.builds(lambda name, value: f"{name}={value}", st.sampled_from(NAMES), st.sampled_from(VALUES) | st.text())
ANSWERS = st.lists(LINES | st.text(), max_size=12).map(lambda lines: "\n".join(["system=Linux", *lines]))
METADATA = {"packages": "git", "virtual-size": "1", "documentation": "https://a.example.org/"}
OUTSIDE = SimpleNamespace(port=1, nonce="nonce", families=(socket.AF_INET, socket.AF_INET6))


@pytest.mark.parametrize("name", CHECKS)
@given(answers=st.lists(ANSWERS, min_size=1, max_size=2))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_else_comes_out(guest, name, answers):
    names_resolve = names.resolves
    names.resolves = lambda _: True
    try:
        assert isinstance(CHECKS[name].run(guest(*answers, metadata=METADATA, outside=OUTSIDE)), str)
    except (GaveUp, Inapplicable):
        pass
    finally:
        names.resolves = names_resolve
