"""What was measured on, and with which versions. Nothing that tells one machine from another of its kind."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from bench.contender import execute
from kmi import __version__
from kmi.host.accel import Acceleration

_VERSION = re.compile(r"\d+(?:\.\d+)+")
_COSIGN_AT_LEAST = "3.0.6 or newer (a build that does not tell)"
"""Debian's build calls itself ``devel``; hack/cosign.sh holds it to this."""


def machine(acceleration: Acceleration) -> str:
    """One sentence on the hardware as the contenders see it."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    memory = f"{round(pages * size / 1024**3)} GiB of memory"
    virtual = "KVM" if acceleration.name == "kvm" else "no usable KVM (virtual machines are emulated, for both)"
    return f"{os.cpu_count()} cores ({platform.machine()}), {memory}, {virtual}, {_system()}"


def versions(engine: str, log: Path) -> dict[str, str]:
    """Each program with its version."""
    told = {
        "libguestfs tools": ["virt-customize", "--version"],
        "QEMU": ["qemu-img", "--version"],
        "skopeo": ["skopeo", "--version"],
        "docker-registry": ["docker-registry", "--version"],
        "Docker client": ["docker", "--version"],
        "Docker Engine": ["docker", "version", "--format", "{{.Server.Version}}"],
        "cosign": ["cosign", "version"],
    }
    found = {name: _version(execute(argv, log=log, env={"DOCKER_HOST": engine})) for name, argv in told.items()}
    found["cosign"] = found["cosign"] or _COSIGN_AT_LEAST
    return {"kmi": __version__, "Python": platform.python_version(), **found}


def _version(text: str) -> str:
    """The first number with a point, in a line that does not tell of the compiler."""
    lines = [line for line in text.splitlines() if not line.startswith("GoVersion")]
    match = _VERSION.search("\n".join(lines))
    return match[0] if match else ""


def _system() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
