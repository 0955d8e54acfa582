"""The network that a machine offers, asked by Ethernet frames of our own: QEMU runs with the machine's ``-netdev`` and
a hub, and this test is the card at its other port."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from kmi.boot.hardware import Hardware, argv
from kmi.model.platform import Arch, Firmware
from tests.machines import TCG, UUID

CARD = bytes.fromhex("525400123456")
GUEST, GATEWAY = IPv6Address("fd10:0:2::2"), IPv6Address("fd10:0:2::1")
ALL_ROUTERS = IPv6Address("ff02::2")
LINK = IPv6Address("fe80::1234")
TCP, ICMP6 = 6, 58
SOLICIT_ROUTER, ROUTER, SOLICIT_NEIGHBOUR, NEIGHBOUR = 133, 134, 135, 136  # RFC 4861, 4


class Wire:
    """A datagram is a frame (QEMU: ``-netdev dgram``)."""

    def __init__(self, ours: socket.socket, theirs: Path) -> None:
        self._ours, self._theirs = ours, theirs

    def send(self, source: IPv6Address, target: IPv6Address, protocol: int, data: bytes, *, check_at: int) -> None:
        """One IPv6 packet; its checksum (RFC 8200, 8.1) is put at ``check_at`` in ``data``."""
        pseudo = source.packed + target.packed + struct.pack(">II", len(data), protocol)
        words = struct.unpack(f">{(len(pseudo) + len(data)) // 2}H", pseudo + data)
        total = sum(words)
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        data = data[:check_at] + struct.pack(">H", ~total & 0xFFFF) + data[check_at + 2 :]
        head = struct.pack(">IHBB", 6 << 28, len(data), protocol, 255) + source.packed + target.packed
        card = b"\x33\x33" + target.packed[-4:] if target.is_multicast else self.gateway
        self._ours.sendto(card + CARD + b"\x86\xdd" + head + data, str(self._theirs))

    gateway = b"\xff" * 6

    def answer(self, protocol: int, first: int | None = None) -> tuple[bytes, bytes]:
        """The sender's card and the payload of the next packet of this protocol (and first byte)."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            frame = self._ours.recv(65536)
            if frame[12:14] == b"\x86\xdd" and frame[20] == protocol and first in (None, frame[54]):
                return frame[6:12], frame[54:]
        raise TimeoutError


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    hardware = Hardware(
        arch=Arch.AMD64, firmware=Firmware.BIOS, acceleration=TCG, overlay=tmp_path, seed=None, folder=tmp_path,
        console=tmp_path / "console-bios.log", uuid=UUID,
    )  # fmt: skip
    (netdev,) = (value for option, value in itertools.pairwise(argv(hardware, None)) if option == "-netdev")
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    plug = {
        "type": "dgram", "id": "plug",
        "local": {"type": "unix", "path": str(theirs)}, "remote": {"type": "unix", "path": str(ours)},
    }  # fmt: skip
    words = ["-netdev", netdev, "-netdev", json.dumps(plug)]
    words += ["-netdev", "hubport,id=h0,hubid=0,netdev=n0", "-netdev", "hubport,id=h1,hubid=0,netdev=plug"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(ours))
        end.settimeout(30)
        qemu = subprocess.Popen(["qemu-system-x86_64", "-M", "none", "-nodefaults", "-display", "none", *words])
        try:
            deadline = time.monotonic() + 30
            while not theirs.exists() and qemu.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            yield Wire(end, theirs)
        finally:
            qemu.kill()
            qemu.wait()


def test_the_guest_can_make_an_address_of_kubevirts_prefix_and_reach_the_host_at_its_gateway(wire):
    wire.send(LINK, ALL_ROUTERS, ICMP6, bytes([SOLICIT_ROUTER]) + bytes(7), check_at=2)
    wire.gateway, told = wire.answer(ICMP6, ROUTER)
    options = told[16:]
    found = {}
    while options:
        found[options[0]] = options[: 8 * options[1]]
        options = options[8 * options[1] :]
    prefix = found[3]  # RFC 4861, 4.6.2
    assert (prefix[2], IPv6Address(prefix[16:32])) == (64, IPv6Address("fd10:0:2::"))
    assert prefix[3] & 0x40, "a guest may make an address of it"

    asked = bytes([SOLICIT_NEIGHBOUR]) + bytes(7) + GATEWAY.packed + b"\x01\x01" + CARD
    wire.send(GUEST, GATEWAY, ICMP6, asked, check_at=2)
    _, told = wire.answer(ICMP6, NEIGHBOUR)
    assert IPv6Address(told[8:24]) == GATEWAY

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        server.settimeout(30)
        port = server.getsockname()[1]
        wire.send(GUEST, GATEWAY, TCP, struct.pack(">HHIIHHHH", 40000, port, 1, 0, 0x5002, 8192, 0, 0), check_at=16)
        _, told = wire.answer(TCP)
        connection, came = server.accept()
        connection.close()
    assert struct.unpack(">HH", told[:4]) == (port, 40000) and told[13] == 0x12, "SYN and ACK"
    assert came[0] == "::1"
