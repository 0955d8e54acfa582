"""How a virtual machine runs on this host: KVM where it works, emulation where it does not.

``/dev/kvm`` proves little: QEMU aborts on some hosts only after it has chosen KVM (so ``accel=kvm:tcg`` does not fall
back), and hosts without hardware virtualization of their own offer a KVM that interprets the guest's kernel a hundred
times slower than QEMU's emulator. So a guest is started, given work, and must end it in time.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from kmi.errors import BuildError, HostError
from kmi.host.files import seal, unseal, write_json
from kmi.host.run import run, which
from kmi.model.platform import Arch

KVM = Path("/dev/kvm")
TRY_SECONDS = 8.0
KVM_CPUS = ("host", "host,arch-capabilities=off")
"""The second is for nested hosts whose hypervisor refuses MSR 0x10a (seen: QEMU 7.2 aborts in kvm_buf_set_msrs)."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_EMULATED_CPU = {Arch.ARM64: "cortex-a72"}  # EDK2 traps with `max` under aarch64 emulation
_EXIT_PORT = 0x501
_MAGIC = 0x2A
_EXECUTED = (_MAGIC << 1) | 1  # isa-debug-exit: the exit status is (value << 1) | 1, which QEMU itself never returns
_DISK_SIZE = 1 << 20  # SeaBIOS refuses a disk of a single sector


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceleration:
    """``name`` is kvm or tcg, ``cpu`` the value for QEMU's ``-cpu``, ``why`` one line for people."""

    name: str
    cpu: str
    why: str


def probe(arch: Arch, cache: Path) -> Acceleration:
    """How guests of ``arch`` run here. Asked once for each boot of the host, QEMU and right to open KVM; the answer is
    kept in ``cache/accel-<arch>.json``. HostError if QEMU for ``arch`` is not installed."""
    emulated = _without_trying(arch)
    if emulated:
        return emulated
    path, asked = cache / f"accel-{arch}.json", _question(arch)
    known = _recall(path, asked)
    if known is None:
        known = _try_kvm()
        write_json(path, seal({"asked": asked, "answer": asdict(known)}))
    return known


def boot_sector() -> bytes:
    """A disk of 1 MiB whose boot sector counts down from 2^25 and then tells QEMU to exit.

    The 67 million instructions take a working KVM some 20 ms and QEMU's emulator a quarter of a second.
    """
    code = (
        b"\x66\xb9\x00\x00\x00\x02"  # mov ecx, 0x02000000 (16-bit real mode at 0000:7c00)
        b"\x66\x49"  # again: dec ecx
        b"\x75\xfc"  # jnz again
        b"\xba\x01\x05"  # mov dx, _EXIT_PORT
        b"\xb0\x2a"  # mov al, _MAGIC
        b"\xee"  # out dx, al (QEMU ends here)
        b"\xf4\xeb\xfd"  # hlt; jmp to the hlt
    )
    return (code.ljust(510, b"\0") + b"\x55\xaa").ljust(_DISK_SIZE, b"\0")


def attempt(disk: Path, *, accelerator: str, cpu: str, seconds: float = TRY_SECONDS) -> str | None:
    """Run ``boot_sector`` from ``disk``; None if the guest did its work in time, else what happened, in a few words."""
    node = {"driver": "raw", "node-name": "disk", "read-only": True, "file": {"driver": "file", "filename": str(disk)}}
    argv = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
        "-machine", f"q35,accel={accelerator}", "-cpu", cpu, "-m", "64",
        "-blockdev", json.dumps(node), "-device", "virtio-blk-pci-non-transitional,drive=disk,bootindex=1",
        "-device", f"isa-debug-exit,iobase={_EXIT_PORT:#x},iosize=1",
    ]  # fmt: skip
    try:
        run(argv, cwd=disk.parent, timeout=seconds, ok=(_EXECUTED,))
    except BuildError as error:
        if "ran out of time" in error.what:
            return f"the guest was not done after {seconds:g} s"
        return f"QEMU ended with {str(error.got).splitlines()[0]}"
    return None


def _without_trying(arch: Arch) -> Acceleration | None:
    program = f"qemu-system-{arch.machine}"
    if which(program) is None:
        raise HostError(f"{program} is not installed", hint="`kmi doctor` tells what is missing and what to install")
    host = platform.machine()
    if arch.machine != host:
        return _emulation(arch, f"this host is {host}, the guest {arch.machine}")
    if arch is not Arch.AMD64:
        return _emulation(arch, f"kmi has no probe for KVM on {host}")
    if not KVM.exists():
        return _emulation(arch, f"there is no {KVM}")
    if not os.access(KVM, os.R_OK | os.W_OK):
        return _emulation(arch, f"{KVM} may not be opened by this user (group kvm)")
    return None


def _try_kvm() -> Acceleration:
    failures = []
    with tempfile.TemporaryDirectory(prefix="kmi-accel-") as folder:
        disk = Path(folder) / "disk.img"
        disk.write_bytes(boot_sector())
        for cpu in KVM_CPUS:
            failure = attempt(disk, accelerator="kvm", cpu=cpu)
            if failure is None:
                return Acceleration(name="kvm", cpu=cpu, why=f"KVM works: a guest with CPU {cpu} did its work in time")
            failures.append(f"with CPU {cpu} {failure}")
    return _emulation(Arch.AMD64, f"{KVM} is there but does not work: {'; '.join(failures)}")


def _emulation(arch: Arch, why: str) -> Acceleration:
    return Acceleration(name="tcg", cpu=_EMULATED_CPU.get(arch, "max"), why=why)


def _question(arch: Arch) -> dict[str, object]:
    """What the answer depends on: this boot of the host, this QEMU, this user."""
    program = which(f"qemu-system-{arch.machine}")
    assert program is not None
    stat = program.resolve().stat()
    return {
        "boot": _BOOT_ID.read_text(encoding="ascii").strip(),
        "qemu": [str(program.resolve()), stat.st_mtime_ns, stat.st_size],
        "user": os.geteuid(),
        "cpus": list(KVM_CPUS),
    }


def _recall(path: Path, asked: dict[str, object]) -> Acceleration | None:
    """The kept answer to the same question; an unreadable file counts as none."""
    try:
        kept = unseal(path) or {}
        return Acceleration(**kept["answer"]) if kept["asked"] == asked else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
