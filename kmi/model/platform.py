"""Machine words: architectures by their OCI names, and firmware."""

from __future__ import annotations

from enum import StrEnum


class Arch(StrEnum):
    """An architecture by its OCI (Go ``GOARCH``) name."""

    AMD64 = "amd64"
    ARM64 = "arm64"
    S390X = "s390x"
    PPC64LE = "ppc64le"

    @property
    def machine(self) -> str:
        """The kernel's word for it (``uname -m``)."""
        return {"amd64": "x86_64", "arm64": "aarch64"}.get(self.value, self.value)

    @classmethod
    def of_machine(cls, machine: str) -> Arch:
        """From ``uname -m``; ValueError for one that kmi does not know."""
        for arch in cls:
            if arch.machine == machine:
                return arch
        raise ValueError(f"unknown machine {machine!r}")


class Firmware(StrEnum):
    """What starts the boot loader. ``bios`` is KubeVirt's default on amd64, ``uefi`` the only one on arm64, ``native``
    what machines of s390x (channel IPL) and ppc64le (Open Firmware) have, where there is nothing to choose."""

    BIOS = "bios"
    UEFI = "uefi"
    SECURE_BOOT = "secure-boot"
    NATIVE = "native"
