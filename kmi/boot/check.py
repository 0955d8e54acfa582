"""Boot an image from the bytes of its layer, on each firmware that it claims, and see what it does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kmi.boot import checks, layerdisk, seed, ssh
from kmi.boot.agent import Agent
from kmi.boot.checks import Check, Guest
from kmi.boot.console import Console, GaveUp, Patience
from kmi.boot.hardware import Hardware
from kmi.boot.layerdisk import LayerDisk
from kmi.boot.qemu import Machine, sockets
from kmi.errors import BuildError
from kmi.host.accel import Acceleration
from kmi.host.ui import Step, plain
from kmi.model.checks import GUEST_AGENT, LOGIN_PROMPT
from kmi.model.digest import Digest
from kmi.model.metadata import Metadata
from kmi.model.platform import Arch, Firmware
from kmi.model.stages import CheckResult, Outcome, TestReport

HOSTNAME = "kmi-test"
_DETAIL = 500
VERSION = 1
"""In the key of a kept report: raise it when the checks change."""


def check(
    layout: Path,
    subject: Digest,
    arch: Arch,
    *,
    metadata: Metadata,
    machines: tuple[Firmware, ...],
    acceleration: Acceleration,
    scratch: Path,
    logs: Path,
    step: Step,
) -> TestReport:
    """Boot the image manifest ``subject`` in the OCI layout at ``layout`` on each of ``machines`` in turn.

    ``scratch`` is an empty folder; ``logs`` gets ``console-<firmware>.log``, ``firmware-<firmware>.log`` and
    ``qemu-<firmware>.log``. What the guest does not do is a failed result. Raises VerificationError if the image's
    bytes are not what its digests say or its disk is refused, BuildError if a program or QEMU itself fails, HostError
    if the host lacks something.
    """
    disk = layerdisk.locate(layout, subject, scratch)
    key = ssh.new_key(scratch)
    results: list[CheckResult] = []
    for firmware in machines:
        identity = str(uuid.uuid4())
        iso = scratch / f"seed-{firmware}.iso"
        files = seed.documents(instance=identity, hostname=HOSTNAME, key=key.public)
        seed.nocloud(files, scratch / f"seed-{firmware}", iso)
        with _hardware(disk, arch, firmware, acceleration, scratch, logs, iso, identity) as hardware:
            with Machine(hardware, log=logs / f"qemu-{firmware}.log") as machine:
                guest = _guest(machine, key, metadata, acceleration, step)
                seen = [_judge(one, guest, step) for one in checks.ALL]
                _farewell(guest, seen)
                results += seen
    return TestReport(subject=subject, arch=arch, results=tuple(results))


def boot_without_seed(
    layout: Path,
    subject: Digest,
    arch: Arch,
    *,
    firmware: Firmware,
    acceleration: Acceleration,
    scratch: Path,
    logs: Path,
    step: Step,
) -> tuple[str, ...]:
    """Boot with no provisioning disk at all until SSH greets; the guest's public host keys (``type base64``), sorted.

    The console goes to ``logs/console-unseeded-<firmware>.log``. BuildError if SSH does not come up.
    """
    disk = layerdisk.locate(layout, subject, scratch)
    name = f"unseeded-{firmware}"
    with _hardware(disk, arch, firmware, acceleration, scratch, logs, None, str(uuid.uuid4())) as hardware:
        with Machine(hardware, log=logs / f"qemu-{name}.log") as machine:
            guest = _guest(machine, ssh.Key(private=scratch / "none", public=""), {}, acceleration, step)
            try:
                guest.wait(lambda: ssh.banner(machine.ssh_port))
                return guest.wait(lambda: _settled_keys(machine.ssh_port))
            except GaveUp as error:
                log = hardware.console
                raise BuildError("SSH did not come up without a seed disk", got=error, log=log) from error


def _settled_keys(port: int) -> tuple[str, ...] | None:
    """The host keys once two scans agree: a busy guest drops connections, and a scan then lacks a key."""
    first = ssh.host_keys(port)
    return first if first and ssh.host_keys(port) == first else None


@contextmanager
def _hardware(
    disk: LayerDisk,
    arch: Arch,
    firmware: Firmware,
    acceleration: Acceleration,
    scratch: Path,
    logs: Path,
    iso: Path | None,
    identity: str,
) -> Iterator[Hardware]:
    """The machine's parts for one boot: a fresh overlay over the image's disk, and a folder for its sockets."""
    name = str(firmware) if iso else f"unseeded-{firmware}"
    overlay = scratch / f"overlay-{name}.qcow2"
    layerdisk.overlay(disk, overlay)
    try:
        with sockets(scratch) as folder:
            yield Hardware(
                arch=arch,
                firmware=firmware,
                acceleration=acceleration,
                overlay=overlay,
                seed=iso,
                folder=folder,
                console=logs / f"console-{name}.log",
                uuid=identity,
            )
    finally:
        overlay.unlink()


def _guest(machine: Machine, key: ssh.Key, metadata: Metadata, acceleration: Acceleration, step: Step) -> Guest:
    hardware = machine.hardware
    return Guest(
        machine=machine,
        console=Console(hardware.console, firmware=hardware.firmware_log),
        agent=Agent(hardware.agent),
        key=key,
        metadata=metadata,
        patience=Patience.of(acceleration),
        told=lambda line: step.detail(f"{hardware.name}: {line[:120]}"),
    )


def _farewell(guest: Guest, seen: list[CheckResult]) -> None:
    """A guest that let somebody in is asked to power off; any other would not listen and is just ended."""
    passed = {result.check for result in seen if result.outcome is Outcome.PASSED}
    if passed - {LOGIN_PROMPT}:
        guest.machine.shutdown(agent=GUEST_AGENT in passed, grace=guest.patience.least)


def _judge(one: Check, guest: Guest, step: Step) -> CheckResult:
    began = time.monotonic()
    reason = one.skip(guest.metadata)
    if reason is not None:
        outcome, detail = Outcome.SKIPPED, reason
    else:
        try:
            outcome, detail = Outcome.PASSED, one.run(guest)
        except GaveUp as error:
            outcome, detail = Outcome.FAILED, str(error)
    seconds = time.monotonic() - began
    detail = plain(" ".join(detail.encode(errors="replace").decode().split()))[:_DETAIL]  # the guest's words, in part
    machine = guest.machine.hardware.name
    step.note(f"{machine} {one.name} {outcome}: {detail}")
    return CheckResult(check=one.name, machine=machine, outcome=outcome, detail=detail, seconds=seconds)
