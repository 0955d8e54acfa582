"""Boot an image from the bytes of its layer, as often and on such machines as its checks need, and see what it does.

One boot on each firmware with a seed serves most checks; one more without any provisioning disk shows what the guest
agent alone can do; and what must differ from machine to machine is compared across them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from kmi.boot import layerdisk, ssh
from kmi.boot.checks import identity
from kmi.boot.checks.check import with_agent, with_login
from kmi.boot.console import Patience
from kmi.boot.round import Bench, Boot, Seen, line, run, unseen
from kmi.boot.seed import SeedKind
from kmi.host.accel import Acceleration
from kmi.host.locks import locked
from kmi.host.ui import Step
from kmi.model.checks import LOGIN_PROMPT
from kmi.model.digest import Digest
from kmi.model.metadata import Metadata
from kmi.model.platform import Arch, Firmware
from kmi.model.stages import Outcome, TestReport

VERSION = 3
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
    seed: SeedKind | None = None,
) -> TestReport:
    """Boot the image manifest ``subject`` in the OCI layout at ``layout`` on each of ``machines`` in turn, and once
    more on the first one without a seed; one named twice counts once. ``seed`` (default: what the image's provisioning
    reads) is the others' kind.

    ``scratch`` is an empty folder; ``logs`` gets ``console-<name>.log``, ``firmware-<name>.log``, ``qemu-<name>.log``
    and, where a check fails, ``screen-<name>.png``; the name is the firmware's, with ``-no-seed`` where there was none.
    What is seen is read there, so two tests never share it: the second one waits.
    What the guest does not do is a failed result. Raises VerificationError if the image's bytes are not what its
    digests say or its disk is refused, BuildError if a program or QEMU itself fails, HostError if the host lacks
    something.
    """
    began = datetime.now(UTC).isoformat(timespec="seconds")
    disk = layerdisk.locate(layout, subject, scratch)
    bench = Bench(
        disk=disk, arch=arch, metadata=metadata, acceleration=acceleration, key=ssh.new_key(scratch), scratch=scratch,
        logs=logs, step=step,
    )  # fmt: skip
    _announce(arch, acceleration, step)
    kind = seed or _KINDS.get(metadata["init"], SeedKind.NOCLOUD)
    with _alone(logs, step):
        seen = [run(bench, _boot(arch, firmware, kind)) for firmware in dict.fromkeys(machines)]
        bare = _boot(arch, machines[0], None)
        why_not = _pointless(metadata, seen[0])
        seen.append(unseen(bench, bare, why_not) if why_not else run(bench, bare))
    results = [result for one in seen for result in one.results]
    results.append(identity.compare(str(arch), [one.identity for one in seen if one.identity]))
    step.note(line(results[-1]))
    return TestReport(subject=subject, arch=arch, results=tuple(results), acceleration=acceleration.name, began=began)


_KINDS = {"cloud-init": SeedKind.NOCLOUD, "ignition": SeedKind.IGNITION}
"""The provisioning disk by what the image says of its ``init``."""


@contextmanager
def _alone(logs: Path, step: Step) -> Iterator[None]:
    """No other test writes there during the block."""
    logs.mkdir(parents=True, exist_ok=True)
    lock = logs / ".lock"
    with locked(lock, blocked=lambda: step.note(f"another test writes to {logs}: this one waits for it")):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _boot(arch: Arch, firmware: Firmware, kind: SeedKind | None) -> Boot:
    return Boot(arch=arch, firmware=firmware, seed=kind, uuid=str(uuid.uuid4()))


def _pointless(metadata: Metadata, seeded: Seen) -> str | None:
    """Why a boot without a seed would show nothing."""
    if with_agent(metadata) and with_login(metadata):
        return "without a guest agent and SSH nothing can be asked of it"
    if all(one.check != LOGIN_PROMPT or one.outcome is not Outcome.PASSED for one in seeded.results):
        return "it does not come up with a seed either"
    return None


def _announce(arch: Arch, acceleration: Acceleration, step: Step) -> None:
    """Emulation takes minutes where KVM takes seconds: say so before somebody wonders."""
    if acceleration.name != "kvm":
        minutes = Patience.of(acceleration).quiet / 60
        step.note(f"{arch} guests are emulated ({acceleration.why}); one is given up after {minutes:g} silent minutes")
