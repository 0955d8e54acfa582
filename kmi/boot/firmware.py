"""Where the host keeps its UEFI images: pairs of code and variables that belong together."""

from __future__ import annotations

from pathlib import Path

from kmi.errors import HostError
from kmi.model.platform import Arch, Firmware

_PAIRS: dict[tuple[Arch, Firmware], tuple[tuple[str, str], ...]] = {
    (Arch.AMD64, Firmware.UEFI): (
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),  # Debian, Ubuntu
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),  # Fedora, RHEL
    ),
    (Arch.AMD64, Firmware.SECURE_BOOT): (
        ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
    ),
    (Arch.ARM64, Firmware.UEFI): (
        ("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),  # Debian, Ubuntu, RHEL
        ("/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"),  # Fedora
    ),
}
_PACKAGES = {
    Arch.AMD64: "ovmf (Debian, Ubuntu) or edk2-ovmf (Fedora)",
    Arch.ARM64: "qemu-efi-aarch64 (Debian, Ubuntu) or edk2-aarch64 (Fedora)",
}


def pair(arch: Arch, firmware: Firmware) -> tuple[Path, Path] | None:
    """Code (read only) and variables (to be copied for each machine); None for SeaBIOS, which QEMU brings itself.
    HostError if the host has none, or the architecture does not know this firmware."""
    if firmware is Firmware.BIOS and arch is Arch.AMD64:
        return None
    known = _PAIRS.get((arch, firmware), ())
    for code, variables in known:
        if Path(code).exists() and Path(variables).exists():
            return Path(code), Path(variables)
    raise HostError(
        f"there is no {firmware} firmware for {arch} machines",
        expected=" or ".join(code for code, _ in known) or "a firmware that the architecture has",
        hint=f"install {_PACKAGES[arch]}" if known else None,
    )
