"""One boot: the machine is put together, every check that is due on it runs, and it ends."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kmi.boot import checks, layerdisk, seed, ssh
from kmi.boot.agent import Agent
from kmi.boot.checks import Check, Given, Guest, Inapplicable, identity
from kmi.boot.checks.check import with_login
from kmi.boot.console import Console, GaveUp, Patience
from kmi.boot.hardware import Hardware
from kmi.boot.layerdisk import LayerDisk
from kmi.boot.outside import Outside
from kmi.boot.qemu import Machine, sockets
from kmi.boot.seed import SeedKind
from kmi.boot.session import Session
from kmi.errors import BuildError
from kmi.host.accel import Acceleration
from kmi.host.space import hold
from kmi.host.ui import Step, plain
from kmi.model.checks import GUEST_AGENT, LOGIN_PROMPT, REBOOT, SHUTDOWN, due
from kmi.model.metadata import Metadata
from kmi.model.platform import Arch, Firmware
from kmi.model.stages import CheckResult, Outcome

HOSTNAME = "kmi-test"
SPARE_BYTES = 512 << 20
"""The second disk's size, in a sparse file. No usual file system is refused on it (mkfs.xfs asks for 300 MiB)."""
_ENDING = (SHUTDOWN, REBOOT)
"""The checks after which there is no guest to look at."""
_MARKS = {Outcome.PASSED: "✓", Outcome.FAILED: "✗", Outcome.SKIPPED: "·"}
_DETAIL = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the boots of one image share (``kmi.boot.check.check``)."""

    disk: LayerDisk
    arch: Arch
    metadata: Metadata
    acceleration: Acceleration
    key: ssh.Key
    scratch: Path
    logs: Path
    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """A machine to be: ``seed`` is the kind of its provisioning disk, None for none at all."""

    arch: Arch
    firmware: Firmware
    seed: SeedKind | None
    uuid: str

    @property
    def machine(self) -> str:
        """In results (``kmi.model.checks.Round``)."""
        return f"{self.arch}/{self.firmware}" if self.seed else f"{self.arch}/{self.firmware}/no-seed"

    @property
    def name(self) -> str:
        """In the names of logs: ``bios``, ``bios-no-seed``."""
        return self.machine.partition("/")[2].replace("/", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the checks of one boot saw, and who the guest was if that could be asked."""

    results: tuple[CheckResult, ...]
    identity: identity.Identity | None = None


def run(bench: Bench, boot: Boot) -> Seen:
    """Boot and check. Raises as ``kmi.boot.check.check``."""
    with ExitStack() as stack:
        guest = _started(bench, boot, stack)
        judge = _Judge(bench, boot, guest)
        names = due(boot.machine)
        judge.all(name for name in names if name not in _ENDING)
        who = identity.of(guest) if judge.let_in() or _greets(guest) else None
        judge.all(name for name in names if name in _ENDING)
        if judge.results and guest.machine.alive():
            _farewell(guest, agent=judge.passed(GUEST_AGENT), listens=judge.let_in())
    return Seen(results=tuple(judge.results), identity=who)


def unseen(bench: Bench, boot: Boot, why: str) -> Seen:
    """The results of a boot that is not worth the time."""
    skipped = [
        CheckResult(check=name, machine=boot.machine, outcome=Outcome.SKIPPED, detail=why, seconds=0.0)
        for name in due(boot.machine)
    ]
    bench.step.note(f"{boot.machine} is not booted: {why}")
    return Seen(results=tuple(skipped))


def line(result: CheckResult) -> str:
    """A result as it is told while the test goes on: ``✓ amd64/bios  ssh  2.1 s  debian logged in with a key``."""
    seconds = f"{result.seconds:.1f} s"
    return f"{_MARKS[result.outcome]} {result.machine:<18} {result.check:<15} {seconds:>8}  {result.detail}"


class _Judge:
    """Runs checks on one guest in turn and keeps what they said."""

    def __init__(self, bench: Bench, boot: Boot, guest: Guest) -> None:
        self.results: list[CheckResult] = []
        self._bench, self._boot, self._guest = bench, boot, guest

    def all(self, names: Iterable[str]) -> None:
        for name in names:
            self._one(checks.BY_NAME[name])

    def passed(self, name: str) -> bool:
        return any(one.check == name and one.outcome is Outcome.PASSED for one in self.results)

    def let_in(self) -> bool:
        """Whether anything but the prompt was seen: such a guest listens when it is asked to go."""
        return any(one.outcome is Outcome.PASSED and one.check != LOGIN_PROMPT for one in self.results)

    def _one(self, check: Check) -> None:
        began = time.monotonic()
        outcome, detail = self._outcome(check)
        seconds = round(time.monotonic() - began, 3)
        detail = plain(" ".join(detail.encode(errors="replace").decode().split()))[:_DETAIL]  # the guest's words
        result = CheckResult(
            check=check.name, machine=self._boot.machine, outcome=outcome, detail=detail, seconds=seconds
        )
        self._bench.step.note(line(result))
        self.results.append(result)
        if outcome is Outcome.FAILED:
            self._blame()
            self._picture()

    def _outcome(self, check: Check) -> tuple[Outcome, str]:
        if reason := check.skip(self._guest.metadata):
            return Outcome.SKIPPED, reason
        if lacking := [name for name in check.after if not self.passed(name)]:
            return Outcome.SKIPPED, f"needs {' and '.join(lacking)}, which did not pass"
        try:
            return Outcome.PASSED, check.run(self._guest)
        except Inapplicable as reason:
            return Outcome.SKIPPED, str(reason)
        except GaveUp as error:
            return Outcome.FAILED, str(error)

    def _blame(self) -> None:
        """A guest does not fail because its machine did: BuildError, or HostError if the overlay or the console's log
        has no room to grow."""
        self._guest.machine.blame()
        hold((self._bench.scratch, self._bench.logs))

    def _picture(self) -> None:
        """The display at the first failure; a machine that is gone has none."""
        target = self._bench.logs / f"screen-{self._boot.name}.png"
        if target.exists() or not self._guest.machine.alive():
            return
        try:
            self._guest.machine.screenshot(target)
        except (BuildError, OSError) as error:
            self._bench.step.note(f"no picture of the display: {error}")


def _started(bench: Bench, boot: Boot, stack: ExitStack) -> Guest:
    """The machine, running, with its channels. All of it ends with the stack."""
    nonce = secrets.token_hex(16)
    outside = stack.enter_context(Outside(nonce))
    scratch = bench.scratch / boot.name
    scratch.mkdir()
    (bench.logs / f"screen-{boot.name}.png").unlink(missing_ok=True)
    given = Given(kind=boot.seed, hostname=HOSTNAME, nonce=nonce, key=bench.key) if boot.seed else None
    hardware = stack.enter_context(_hardware(bench, boot, given, scratch))
    machine = stack.enter_context(Machine(hardware, log=bench.logs / f"qemu-{boot.name}.log"))
    user = bench.metadata["user"] or "root"
    session = Session(user=user, port=machine.ssh_port, key=bench.key, folder=hardware.folder)
    return Guest(
        machine=machine,
        console=Console(hardware.console, firmware=hardware.firmware_log),
        agent=Agent(hardware.agent),
        session=stack.enter_context(session),
        outside=outside,
        given=given,
        key=bench.key,
        metadata=bench.metadata,
        patience=Patience.of(bench.acceleration),
        scratch=scratch,
        began=time.monotonic(),
        told=lambda line: bench.step.detail(f"{boot.machine}: {line[:120]}"),
    )


@contextmanager
def _hardware(bench: Bench, boot: Boot, given: Given | None, scratch: Path) -> Iterator[Hardware]:
    """The machine's parts: a fresh overlay over the image's disk, a blank second disk, the seed, and a folder for its
    sockets."""
    overlay, spare = scratch / "overlay.qcow2", scratch / "spare.img"
    layerdisk.overlay(bench.disk, overlay)
    with spare.open("wb") as file:
        file.truncate(SPARE_BYTES)
    iso = scratch / "seed.iso" if boot.seed and given else None
    if boot.seed and given and iso:
        seed.disk(
            boot.seed, instance=boot.uuid, hostname=given.hostname, key=given.key.public, nonce=given.nonce,
            user=bench.metadata["user"], folder=scratch / "seed", target=iso,
        )  # fmt: skip
    try:
        with sockets(scratch) as folder:
            yield Hardware(
                arch=bench.arch,
                firmware=boot.firmware,
                acceleration=bench.acceleration,
                overlay=overlay,
                seed=iso,
                spare=spare,
                folder=folder,
                console=bench.logs / f"console-{boot.name}.log",
                uuid=boot.uuid,
            )
    finally:
        overlay.unlink()
        spare.unlink()


def _greets(guest: Guest) -> bool:
    """Whether SSH answers, which also a guest that lets nobody in may do."""
    return with_login(guest.metadata) is None and ssh.banner(guest.machine.ssh_port) is not None


def _farewell(guest: Guest, *, agent: bool, listens: bool) -> None:
    """A guest that let somebody in is asked to power off; any other would not listen and is just ended."""
    if listens:
        guest.machine.shutdown(agent=agent, grace=guest.patience.least)
