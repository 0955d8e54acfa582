"""QEMU's command line for the machine that KubeVirt would define. Pure.

Every device is KubeVirt's (pkg/virt-launcher/virtwrap/converter at d923fdb815; file names beside the groups), with the
defaults of its admission webhook. Added is only what the guest does not see: QMP, a log of SeaBIOS's and OVMF's own
messages on the debug port 0x402, and user-mode networking with masquerade's addresses in place of the pod's tap.
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

SPARE_SERIAL = "kmi-spare"
"""udev makes /dev/disk/by-id/virtio-kmi-spare of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One machine. ``folder`` holds its sockets and its firmware variables, ``console`` is the log of the serial port
    (ttyS0, on arm64 ttyAMA0), ``seed`` the provisioning disk if it has one, ``spare`` a blank raw disk; ``memory`` is
    in MiB, ``mtu`` in bytes: pods often have less than Ethernet's 1500, and virtio-net tells the guest."""

    arch: Arch
    firmware: Firmware
    acceleration: Acceleration
    overlay: Path
    seed: Path | None
    folder: Path
    console: Path
    uuid: str
    spare: Path | None = None
    mtu: int = 1400
    memory: int = 1024
    cpus: int = 2

    @property
    def name(self) -> str:
        """As reports name it: ``amd64/bios``, ``amd64/bios/no-seed``."""
        return f"{self.arch}/{self.firmware}" + ("" if self.seed else "/no-seed")

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
            return _whole(hardware, _q35(hardware, code), [*_debug_port(hardware), *_vga()])
        case Arch.ARM64:
            return _whole(hardware, _virt(hardware, code), _arm_console())
        case Arch.S390X | Arch.PPC64LE:
            known = f"{Arch.AMD64} or {Arch.ARM64}"
            raise HostError(f"kmi cannot boot {hardware.arch} images yet", expected=known, got=hardware.arch)


def _whole(hardware: Hardware, board: list[str], extras: list[str]) -> list[str]:
    return [
        f"qemu-system-{hardware.arch.machine}", "-name", "kmi", "-nodefaults", "-no-user-config",
        *board, *_identity(hardware), *_disks(hardware), *_channels(hardware), *_network(hardware), *_others(), *extras,
    ]  # fmt: skip


def _q35(hardware: Hardware, code: Path | None) -> list[str]:
    """compute/os.go, compute/hypervisor_features.go; efi/efi.go for Secure Boot, which needs SMM."""
    secure = hardware.firmware is Firmware.SECURE_BOOT
    machine = f"q35,vmport=off,smm={'on' if secure else 'off'}"
    words = _processors(hardware)
    if code is not None:
        machine += ",pflash0=code,pflash1=vars"
        words += _flash(hardware, code)
    if secure:
        words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    return [*words, "-machine", machine]


def _virt(hardware: Hardware, code: Path | None) -> list[str]:
    """The same for arm64, which always has UEFI. ``max`` is the newest interrupt controller that the accelerator has:
    emulation's, and under KVM the host's."""
    if code is None:
        raise HostError("arm64 machines start from UEFI", expected=Firmware.UEFI, got=hardware.firmware)
    machine = "virt,gic-version=max,pflash0=code,pflash1=vars"
    return [*_processors(hardware), *_flash(hardware, code), "-machine", machine]


def _processors(hardware: Hardware) -> list[str]:
    """compute/cpu.go."""
    accelerator = "kvm" if hardware.acceleration.name == "kvm" else "tcg,thread=multi"
    topology = f"{hardware.cpus},sockets={hardware.cpus},cores=1,threads=1"
    return ["-accel", accelerator, "-cpu", hardware.acceleration.cpu, "-smp", topology, "-m", str(hardware.memory)]


def _flash(hardware: Hardware, code: Path) -> list[str]:
    words = _blockdev(node="code", driver="raw", file=code, read_only=True)
    return [*words, *_blockdev(node="vars", driver="raw", file=hardware.variables)]


def _identity(hardware: Hardware) -> list[str]:
    """compute/sysinfo.go, compute/clock.go. A guest that resets in a loop ends the process."""
    smbios = f"type=1,manufacturer=KubeVirt,family=KubeVirt,product=None,uuid={hardware.uuid}"
    return ["-uuid", hardware.uuid, "-smbios", smbios, "-rtc", "base=utc"]


def _disks(hardware: Hardware) -> list[str]:
    """storage/disk.go: vda is the root, then the seed, then the spare. Flushes are dropped, as no disk outlives it."""
    root = "virtio-blk-pci-non-transitional,drive=root,bootindex=1,werror=stop,rerror=stop"
    words = [*_blockdev(node="root", driver="qcow2", file=hardware.overlay, discard="unmap"), "-device", root]
    if hardware.seed is not None:
        words += _blockdev(node="seed", driver="raw", file=hardware.seed, read_only=True)
        words += ["-device", "virtio-blk-pci-non-transitional,drive=seed"]
    if hardware.spare is not None:
        words += _blockdev(node="spare", driver="raw", file=hardware.spare, discard="unmap")
        words += ["-device", f"virtio-blk-pci-non-transitional,drive=spare,serial={SPARE_SERIAL}"]
    return words


def _channels(hardware: Hardware) -> list[str]:
    """compute/channels.go (guest agent), compute/console.go (the board's first serial port)."""
    console = _value(hardware.console)
    return [
        "-device", "virtio-serial-pci-non-transitional,id=vser0",
        "-chardev", f"socket,id=qga,path={_value(hardware.agent)},server=on,wait=off",
        "-device", "virtserialport,bus=vser0.0,chardev=qga,name=org.qemu.guest_agent.0",
        "-chardev", f"socket,id=ser0,path={_value(hardware.serial)},server=on,wait=off,logfile={console}",
        "-serial", "chardev:ser0",
        "-qmp", f"unix:{_value(hardware.qmp)},server=on,wait=off",
    ]  # fmt: skip


def _network(hardware: Hardware) -> list[str]:
    """network/configurator.go: masquerade gives the guest 10.0.2.2, its gateway .1, and fd10:0:2::2/120 with ::1. QEMU
    has no DHCPv6 for addresses, so the prefix is one that a guest makes an address of itself (RFC 4862: /64). The
    gateway is also the host's loopback. Port 0: the kernel chooses."""
    four = "net=10.0.2.0/24,dhcpstart=10.0.2.2,host=10.0.2.1,dns=10.0.2.3"
    six = "ipv6-net=fd10:0:2::/64,ipv6-host=fd10:0:2::1,ipv6-dns=fd10:0:2::3"
    return [
        "-netdev", f"user,id=n0,{four},{six},hostfwd=tcp:127.0.0.1:0-:22",
        "-device", f"virtio-net-pci-non-transitional,netdev=n0,romfile=,host_mtu={hardware.mtu}",
    ]  # fmt: skip


def _others() -> list[str]:
    """compute/rng.go, compute/balloon.go, compute/controllers.go."""
    return [
        "-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci-non-transitional,rng=rng0",
        "-device", "virtio-balloon-pci-non-transitional,free-page-reporting=on",
        "-device", "virtio-scsi-pci-non-transitional", "-display", "none",
    ]  # fmt: skip


def _vga() -> list[str]:
    """compute/graphics.go."""
    return ["-device", "VGA,vgamem_mb=16"]


def _debug_port(hardware: Hardware) -> list[str]:
    """SeaBIOS and OVMF write there; the firmware of arm64 writes to the serial port."""
    log = _value(hardware.firmware_log)
    return ["-chardev", f"file,id=fw,path={log}", "-device", "isa-debugcon,iobase=0x402,chardev=fw"]


def _arm_console() -> list[str]:
    """compute/graphics.go, compute/controllers.go, compute/input_device.go."""
    return ["-device", "virtio-gpu-pci", "-device", "qemu-xhci", "-device", "usb-tablet", "-device", "usb-kbd"]


def _blockdev(*, node: str, driver: str, file: Path, read_only: bool = False, discard: str = "ignore") -> list[str]:
    cache = {"direct": False, "no-flush": not read_only}
    below = {"driver": "file", "filename": str(file), "read-only": read_only, "discard": discard, "cache": cache}
    above = {"driver": driver, "node-name": node, "read-only": read_only, "discard": discard, "cache": cache}
    return ["-blockdev", json.dumps({**above, "file": below})]


def _value(path: Path) -> str:
    """A path inside a comma-separated option (qemu(1): a comma is written twice)."""
    return str(path).replace(",", ",,")
