"""QEMU's command line for the machine that KubeVirt would define. Pure.

Every device is KubeVirt's (pkg/virt-launcher/virtwrap/converter at d923fdb815; file names beside the groups), with the
defaults of its admission webhook. Added is only what the guest does not see: QMP, a log of the firmware's own messages
on the debug port 0x402, and user-mode networking with masquerade's addresses in place of the pod's tap.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from kmi.errors import HostError
from kmi.host.accel import Acceleration
from kmi.model.platform import Arch, Firmware

SOCKET_LIMIT = 107
"""Bytes in a unix socket's path (unix(7): sun_path has 108 with the closing zero)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One machine. ``folder`` holds its sockets and its firmware variables, ``console`` is the log of ttyS0,
    ``seed`` the provisioning disk if it has one; ``memory`` is in MiB."""

    arch: Arch
    firmware: Firmware
    acceleration: Acceleration
    overlay: Path
    seed: Path | None
    folder: Path
    console: Path
    uuid: str
    memory: int = 1024
    cpus: int = 2

    @property
    def name(self) -> str:
        """As reports name it: ``amd64/bios``."""
        return f"{self.arch}/{self.firmware}"

    @property
    def agent(self) -> Path:
        return self.folder / "qga.sock"

    @property
    def serial(self) -> Path:
        return self.folder / "serial.sock"

    @property
    def qmp(self) -> Path:
        return self.folder / "qmp.sock"

    @property
    def variables(self) -> Path:
        return self.folder / "vars.fd"

    @property
    def firmware_log(self) -> Path:
        return self.console.with_name(self.console.name.replace("console-", "firmware-"))


def argv(hardware: Hardware, code: Path | None) -> list[str]:
    """The whole command line. ``code`` is the UEFI image that goes with ``hardware.variables``, None for SeaBIOS.
    HostError for an architecture whose machine kmi does not know yet."""
    match hardware.arch:
        case Arch.AMD64:
            return _amd64(hardware, code)
        case Arch.ARM64 | Arch.S390X | Arch.PPC64LE:
            raise HostError(f"kmi cannot boot {hardware.arch} images yet", expected=Arch.AMD64, got=hardware.arch)


def _amd64(hardware: Hardware, code: Path | None) -> list[str]:
    return [
        "qemu-system-x86_64", "-name", "kmi", "-nodefaults", "-no-user-config",
        *_board(hardware, code), *_identity(hardware), *_disks(hardware), *_channels(hardware), *_network(), *_others(),
    ]  # fmt: skip


def _board(hardware: Hardware, code: Path | None) -> list[str]:
    """compute/os.go, compute/cpu.go, compute/hypervisor_features.go; efi/efi.go for Secure Boot, which needs SMM."""
    secure = hardware.firmware is Firmware.SECURE_BOOT
    machine = f"q35,vmport=off,smm={'on' if secure else 'off'}"
    words = []
    if code is not None:
        machine += ",pflash0=code,pflash1=vars"
        words += _blockdev(node="code", driver="raw", file=code, read_only=True)
        words += _blockdev(node="vars", driver="raw", file=hardware.variables)
    if secure:
        words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    accelerator = "kvm" if hardware.acceleration.name == "kvm" else "tcg,thread=multi"
    topology = f"{hardware.cpus},sockets={hardware.cpus},cores=1,threads=1"
    return [
        *words, "-machine", machine, "-accel", accelerator, "-cpu", hardware.acceleration.cpu,
        "-smp", topology, "-m", str(hardware.memory),
    ]  # fmt: skip


def _identity(hardware: Hardware) -> list[str]:
    """compute/sysinfo.go, compute/clock.go. A guest that resets in a loop ends the process."""
    smbios = f"type=1,manufacturer=KubeVirt,family=KubeVirt,product=None,uuid={hardware.uuid}"
    return ["-uuid", hardware.uuid, "-smbios", smbios, "-rtc", "base=utc", "-no-reboot"]


def _disks(hardware: Hardware) -> list[str]:
    """storage/disk.go: vda is the root, vdb the seed. Flushes are dropped: the overlay never outlives the machine."""
    root = "virtio-blk-pci-non-transitional,drive=root,bootindex=1,werror=stop,rerror=stop"
    words = [*_blockdev(node="root", driver="qcow2", file=hardware.overlay, discard="unmap"), "-device", root]
    if hardware.seed is not None:
        words += _blockdev(node="seed", driver="raw", file=hardware.seed, read_only=True)
        words += ["-device", "virtio-blk-pci-non-transitional,drive=seed"]
    return words


def _channels(hardware: Hardware) -> list[str]:
    """compute/channels.go (guest agent), compute/console.go (ttyS0)."""
    console = _value(hardware.console)
    return [
        "-device", "virtio-serial-pci-non-transitional,id=vser0",
        "-chardev", f"socket,id=qga,path={_value(hardware.agent)},server=on,wait=off",
        "-device", "virtserialport,bus=vser0.0,chardev=qga,name=org.qemu.guest_agent.0",
        "-chardev", f"socket,id=ser0,path={_value(hardware.serial)},server=on,wait=off,logfile={console}",
        "-serial", "chardev:ser0",
        "-chardev", f"file,id=fw,path={_value(hardware.firmware_log)}",
        "-device", "isa-debugcon,iobase=0x402,chardev=fw",
        "-qmp", f"unix:{_value(hardware.qmp)},server=on,wait=off",
    ]  # fmt: skip


def _network() -> list[str]:
    """network/configurator.go: masquerade gives the guest 10.0.2.2, its gateway .1. Port 0: the kernel chooses."""
    user = "user,id=n0,net=10.0.2.0/24,dhcpstart=10.0.2.2,host=10.0.2.1,dns=10.0.2.3,hostfwd=tcp:127.0.0.1:0-:22"
    return ["-netdev", user, "-device", "virtio-net-pci-non-transitional,netdev=n0,romfile="]


def _others() -> list[str]:
    """compute/rng.go, compute/balloon.go, compute/controllers.go, compute/graphics.go."""
    return [
        "-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci-non-transitional,rng=rng0",
        "-device", "virtio-balloon-pci-non-transitional,free-page-reporting=on",
        "-device", "virtio-scsi-pci-non-transitional", "-device", "VGA,vgamem_mb=16", "-display", "none",
    ]  # fmt: skip


def _blockdev(*, node: str, driver: str, file: Path, read_only: bool = False, discard: str = "ignore") -> list[str]:
    cache = {"direct": False, "no-flush": not read_only}
    below = {"driver": "file", "filename": str(file), "read-only": read_only, "discard": discard, "cache": cache}
    above = {"driver": driver, "node-name": node, "read-only": read_only, "discard": discard, "cache": cache}
    return ["-blockdev", json.dumps({**above, "file": below})]


def _value(path: Path) -> str:
    """A path inside a comma-separated option (qemu(1): a comma is written twice)."""
    return str(path).replace(",", ",,")
