"""A disk of 16 MiB that boots from UEFI: in its system partition is one application of our own, in machine code."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from kmi.model.platform import Arch

_MIB = 1 << 20
_ESP = "C12A7328-F81F-11D2-BA4B-00C04B93EC3B"  # UEFI 2.10, 5.3.3
_NAMES = {Arch.AMD64: "BOOTX64.EFI", Arch.ARM64: "BOOTAA64.EFI"}  # UEFI 2.10, 3.5.1.1
_MACHINES = {Arch.AMD64: 0x8664, Arch.ARM64: 0xAA64}  # PE format, machine types


def efi_disk(folder: Path, arch: Arch, message: str, *, power_off: bool = False) -> bytes:
    """A GPT disk whose application writes ``message`` to the UEFI console, and then stays or asks for power off."""
    folder.mkdir()
    (folder / "app.efi").write_bytes(application(arch, message, power_off=power_off))
    esp = folder / "esp.img"
    at = ["-i", str(esp)]
    for argv in (
        ["mformat", *at, "-C", "-T", str(12 * _MIB // 512), "::"],
        ["mmd", *at, "::/EFI", "::/EFI/BOOT"],
        ["mcopy", *at, str(folder / "app.efi"), f"::/EFI/BOOT/{_NAMES[arch]}"],
    ):
        subprocess.run(argv, check=True, capture_output=True)
    disk = folder / "disk.img"
    disk.write_bytes(bytes(_MIB) + esp.read_bytes() + bytes(3 * _MIB))
    table = f"label: gpt\nstart=2048, size={esp.stat().st_size // 512}, type={_ESP}\n"
    subprocess.run(["sfdisk", "-q", str(disk)], input=table, text=True, check=True, capture_output=True)
    return disk.read_bytes()


def application(arch: Arch, message: str, *, power_off: bool = False) -> bytes:
    """A PE32+ image (PE format) of one section at 0x1000, which needs no relocation."""
    code = {Arch.AMD64: _amd64, Arch.ARM64: _arm64}[arch](power_off)
    section = (code + message.encode("utf-16-le") + b"\0\0").ljust(1024, b"\0")
    coff = struct.pack("<HHIIIHH", _MACHINES[arch], 1, 0, 0, 0, 240, 0x22)  # executable, large addresses
    optional = struct.pack("<HBBIIIII", 0x20B, 0, 0, len(section), 0, 0, 0x1000, 0x1000)
    optional += struct.pack("<QIIHHHHHHIIIIHH", 0, 0x1000, 512, 0, 0, 0, 0, 2, 0, 0, 0x2000, 512, 0, 10, 0)
    optional += struct.pack("<QQQQII", 0, 0, 0, 0, 0, 16) + bytes(128)  # subsystem 10 above: EFI application
    text = struct.pack("<8sIIIIIIHHI", b".text", len(section), 0x1000, len(section), 512, 0, 0, 0, 0, 0x60000020)
    head = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64) + b"PE\0\0" + coff + optional + text
    assert len(section) == 1024 and len(coff) == 20 and len(optional) == 240
    return head.ljust(512, b"\0") + section


def _arm64(power_off: bool) -> bytes:
    """UEFI 2.10, 2.3.6: x0 is the image's handle, x1 the system table."""
    last = (
        0xF9402E64, 0xF9403484,  # ldr x4, [x19, #88] (RuntimeServices); ldr x4, [x4, #104] (ResetSystem)
        0x52800040, 0xD2800001, 0xD2800002, 0xD2800003,  # mov w0, #2 (EfiResetShutdown); mov x1, #0; x2; x3
        0xD63F0080,  # blr x4
    ) if power_off else ()  # fmt: skip
    stay = (0xD503207F, 0x17FFFFFF)  # wfi; b to the wfi
    after = len(last) + len(stay) + 2  # words from the adr to the message
    words = (
        0xAA0103F3, 0xF9402260, 0xF9400402,  # mov x19, x1; ldr x0, [x19, #64] (ConOut); ldr x2, [x0, #8] (OutputString)
        0x10000001 | after << 5, 0xD63F0040,  # adr x1, message; blr x2
        *last, *stay,
    )  # fmt: skip
    return struct.pack(f"<{len(words)}I", *words)


def _amd64(power_off: bool) -> bytes:
    """UEFI 2.10, 2.3.4: rcx is the image's handle, rdx the system table; the callee gets 32 bytes of stack."""
    last = (
        b"\x48\x8b\x43\x58\xb9\x02\x00\x00\x00"  # mov rax, [rbx+88] (RuntimeServices); mov ecx, 2 (EfiResetShutdown)
        b"\x31\xd2\x45\x31\xc0\x45\x31\xc9\xff\x50\x68"  # xor edx, edx; r8d; r9d; call [rax+104] (ResetSystem)
        if power_off
        else b""
    )
    rest = b"\xff\x51\x08" + last + b"\xf4\xeb\xfd"  # call [rcx+8] (OutputString); hlt; jmp to the hlt
    head = b"\x53\x48\x83\xec\x20\x48\x89\xd3"  # push rbx; sub rsp, 32; mov rbx, rdx
    load = b"\x48\x8b\x4b\x40\x48\x8d\x15"  # mov rcx, [rbx+64] (ConOut); lea rdx, message
    return head + load + struct.pack("<i", len(rest)) + rest
