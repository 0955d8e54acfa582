"""KubeVirt's arm64 machine really boots, emulated: its firmware starts an application of our own from a disk."""

from __future__ import annotations

import pytest

from kmi.boot import firmware
from kmi.boot.qemu import Machine, sockets
from kmi.errors import HostError
from kmi.host import accel
from kmi.host.store import hash_file
from kmi.model.platform import Arch, Firmware
from tests.efi_disk import efi_disk
from tests.machines import machine_of, said, scanlines

MEMORY = 512  # EDK2 needs 256 MiB


def test_aavmf_boots_the_disk_to_a_login_prompt_on_the_serial_port(tmp_path):
    disk = efi_disk(tmp_path / "disk", Arch.ARM64, "\r\nkmi login: ")
    pair = firmware.pair(Arch.ARM64, Firmware.UEFI)
    assert pair is not None
    before = [hash_file(path) for path in pair]
    spare = tmp_path / "spare.img"
    spare.write_bytes(bytes(1 << 20))
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(
            tmp_path, disk, Firmware.UEFI, folder, arch=Arch.ARM64, memory=MEMORY, spare=spare
        )  # fmt: skip
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            console = said(machine, "kmi login: ")
            assert console.login_prompt() and console.reached() == "the login prompt"
            assert "BdsDxe: starting" in console.text()
            assert machine.ssh_port > 0 and machine.ended() is None
            machine.screenshot(tmp_path / "screen.png")
            assert not hardware.firmware_log.exists(), "the firmware writes to the serial port"
        assert machine.ended() == "host-signal"
        assert hardware.variables.stat().st_size == pair[1].stat().st_size
    width, height, lines = scanlines(tmp_path / "screen.png")
    assert width >= 640 and height >= 400 and len(lines) > 10
    assert [hash_file(path) for path in pair] == before


def test_a_guest_that_powers_off_ends_the_machine_and_it_tells_so(tmp_path):
    disk = efi_disk(tmp_path / "disk", Arch.ARM64, "going\r\n", power_off=True)
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, disk, Firmware.UEFI, folder, arch=Arch.ARM64, memory=MEMORY)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            assert machine.wait(120), "EFI's ResetSystem calls PSCI, which ends QEMU"
            assert machine.ended() == "guest-shutdown"
    assert b"going" in hardware.console.read_bytes()


def test_an_application_for_another_architecture_is_not_started(tmp_path):
    disk = efi_disk(tmp_path / "disk", Arch.AMD64, "\r\nkmi login: ")
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, disk, Firmware.UEFI, folder, arch=Arch.ARM64, memory=MEMORY)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            console = said(machine, "UEFI Interactive Shell")
            assert console.dead_end() and not console.login_prompt()


def test_a_host_without_qemu_for_arm64_is_told_so(tmp_path, monkeypatch):
    real = accel.which
    monkeypatch.setattr(accel, "which", lambda name: None if name == "qemu-system-aarch64" else real(name))
    with pytest.raises(HostError, match="qemu-system-aarch64 is not installed"):
        accel.probe(Arch.ARM64, tmp_path)
