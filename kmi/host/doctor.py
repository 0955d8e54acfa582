"""What kmi needs on this host, looked for before minutes of work, and what to install where it is missing."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from kmi.errors import BuildError, HostError
from kmi.host import accel, capability, guestfs
from kmi.host.run import run, which
from kmi.host.space import advice, look
from kmi.host.ui import amount
from kmi.model.platform import Arch

ROOM = 12 * 1024**3
"""Bytes that one image may take in cache and output: working copy, finished disk, layer, pushed layer."""

FLOOR = 1024**3
"""Bytes without which no run is begun. A rerun that finds everything in the cache needs no more; a stage that does
write a disk asks ``room`` for what it needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A program or file. ``roles`` are the kinds of work that need it; ``version`` its command for a version line;
    ``probe`` asks for the version and whether it will do (HostError); ``packages`` what to install on Debian."""

    name: str
    why: str
    roles: frozenset[str]
    packages: str
    version: tuple[str, ...] = ("--version",)
    paths: tuple[str, ...] = ()
    probe: Callable[[], str] | None = None


def _need(
    name: str,
    why: str,
    roles: str,
    packages: str,
    *version: str,
    paths: tuple[str, ...] = (),
    probe: Callable[[], str] | None = None,
) -> Need:
    return Need(
        name=name, why=why, roles=frozenset(roles.split()), packages=packages,
        version=version or ("--version",), paths=paths, probe=probe,
    )  # fmt: skip


NEEDS: tuple[Need, ...] = (
    _need("qemu-img", "converts and checks disks", "build boot", "qemu-utils"),
    _need("qemu-io", "writes the enlarged partition table", "build", "qemu-utils"),
    _need("gpgv", "checks publishers' signatures", "build", "gpgv"),
    _need("minisign", "checks signatures of publishers who use it", "minisign", "minisign", "-v"),
    _need("signify-openbsd", "checks OpenBSD's signatures", "signify", "signify-openbsd",
          paths=("/usr/bin/signify-openbsd",)),
    _need("mmdebstrap", "bootstraps a root file system", "bootstrap", "mmdebstrap"),
    _need("sgdisk", "partitions a bootstrapped disk", "bootstrap", "gdisk"),
    _need("skopeo", "moves images by digest", "build publish boot cluster", "skopeo"),
    _need("docker-registry", "the embedded registry", "local", "docker-registry"),
    _need("cosign", "signs and verifies", "publish",
          f"{capability.OLDEST_COSIGN} (Debian 12 has none; hack/cosign.sh takes that of a newer Debian)",
          probe=capability.cosign),
    _need("qemu-system-x86_64", "the appliance and the boot test", "build boot", "qemu-system-x86"),
    _need("OVMF", "UEFI firmware of the boot test", "boot", "ovmf",
          paths=("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd")),
    _need("qemu-system-aarch64", "the boot test of arm64 images", "boot-arm64", "qemu-system-arm"),
    _need("AAVMF", "UEFI firmware of the boot test of arm64 images", "boot-arm64", "qemu-efi-aarch64",
          paths=("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd")),
    _need("xorrisofs", "makes cloud-init seeds", "boot", "xorriso"),
    _need("ssh", "the boot test's login", "boot cluster", "openssh-client", "-V"),
    _need("ssh-keygen", "makes the boot test's key", "boot cluster", "openssh-client", paths=("/usr/bin/ssh-keygen",)),
    _need("git", "records the commit of the catalogue", "build", "git"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report. ``state`` is ok, missing or note; ``remedy`` what to do if it is missing."""

    name: str
    state: str
    detail: str
    remedy: str = ""


def require(roles: Iterable[str], cache: Path) -> None:
    """HostError naming everything that work of these roles lacks on this host, in the words of ``report``."""
    wanted = set(roles)
    found = [_program(need) for need in NEEDS if need.roles & wanted]
    if "build" in wanted:
        found.append(_bindings())
    found.append(_space(cache))
    missing = [finding for finding in found if finding.state == "missing"]
    if missing:
        lines = [f"{finding.name}: {finding.detail}" for finding in missing]
        raise HostError(
            "this host lacks what the work needs",
            got="\n           ".join(lines),
            hint="; ".join(dict.fromkeys(finding.remedy for finding in missing)),
        )


def report(cache: Path) -> tuple[Finding, ...]:
    """Everything, with versions; probes the acceleration by starting a virtual machine. What only images of another
    architecture need is a note where it is missing."""
    return (
        Finding(name="python", state="ok", detail=f"{platform.python_version()} ({sys.executable})"),
        *(_eased(need, _program(need, version=True)) for need in NEEDS),
        _bindings(),
        _acceleration(cache),
        _space(cache),
        _engine(),
    )


def _program(need: Need, *, version: bool = False) -> Finding:
    lacking = [path for path in need.paths if not Path(path).exists()]
    path = None if need.paths else which(need.name)
    if lacking or (not need.paths and path is None):
        return Finding(name=need.name, state="missing", detail=f"needed: {need.why}", remedy=f"install {need.packages}")
    try:
        told = need.probe() if need.probe else None
    except HostError as error:
        detail = f"{error.what}: {error.got} ({path})"
        return Finding(name=need.name, state="missing", detail=detail, remedy=f"install {need.packages}")
    if not version or path is None:
        return Finding(name=need.name, state="ok", detail=need.why)
    return Finding(name=need.name, state="ok", detail=f"{told or _version(path, need)} ({path})")


def _eased(need: Need, found: Finding) -> Finding:
    foreign = need.roles == {"boot-arm64"} and platform.machine() != Arch.ARM64.machine
    if found.state != "missing" or not foreign:
        return found
    return replace(found, state="note", detail=f"not there; {found.detail} ({found.remedy})")


def _version(path: Path, need: Need) -> str:
    try:
        result = run([path, *need.version], ok=tuple(range(128)), timeout=20)
    except BuildError:
        return "version unknown"
    lines = [line.strip() for line in (result.stdout + result.stderr).splitlines() if line.strip()]
    named = [line for line in lines if any(char.isdigit() for char in line)]
    return (named or lines or ["version unknown"])[0][:60]


def _bindings() -> Finding:
    try:
        return Finding(name="libguestfs bindings", state="ok", detail=guestfs.bindings())
    except HostError as error:
        return Finding(
            name="libguestfs bindings",
            state="missing",
            detail=f"needed: customises disks; {error.got}",
            remedy="install python3-guestfs and run kmi on the distribution's Python",
        )


def _acceleration(cache: Path) -> Finding:
    try:
        found = accel.probe(Arch.of_machine(platform.machine()), cache)
    except (HostError, ValueError) as error:
        return Finding(name="acceleration", state="note", detail=str(error).splitlines()[0])
    return Finding(
        name="acceleration", state="ok" if found.name == "kvm" else "note", detail=f"{found.name}: {found.why}"
    )


def room(cache: Path, needed: int) -> None:
    """HostError unless the file system of the cache has ``needed`` bytes free: for a stage, right before it writes."""
    found = look(cache)
    if found.free < needed:
        raise HostError(
            "the disk has too little room",
            expected=f"{amount(needed)} free",
            got=f"{amount(found.free)} free",
            where=found.folder,
            hint=advice(found, cache),
        )


def _space(cache: Path) -> Finding:
    found = look(cache)
    free = found.free
    short = {"missing": f", needed: {amount(FLOOR)}", "note": f", an image may need {amount(ROOM)}", "ok": ""}
    state = "missing" if free < FLOOR else "note" if free < ROOM else "ok"
    return Finding(
        name="disk space",
        state=state,
        detail=f"{amount(free)} free at {found.folder}{short[state]}",
        remedy=advice(found, cache),
    )


def _engine() -> Finding:
    """The container engine is for people's own use and for tests; kmi builds without one."""
    sockets = (os.environ.get("DOCKER_HOST", ""), "/var/run/docker.sock", "/run/podman/podman.sock")
    for socket in filter(None, sockets):
        if Path(socket.removeprefix("unix://")).exists():
            return Finding(name="container engine", state="ok", detail=socket)
    engines = [name for name in ("docker", "podman") if which(name)]
    detail = f"{' and '.join(engines)} installed, none is running" if engines else "none"
    return Finding(name="container engine", state="note", detail=f"{detail} (kmi builds without one)")
