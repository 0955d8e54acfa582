"""What a failed check says of the machine it was made on: a guest is not blamed for QEMU's end or for a full disk. The
machine is *simulated*: it tells ends in QEMU's words (qapi/run-state.json, ShutdownCause)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kmi.boot import check as checking
from kmi.boot import round as rounds
from kmi.boot.checks.check import Check, everywhere
from kmi.boot.console import GaveUp
from kmi.boot.qemu import Machine
from kmi.boot.round import Boot, Seen, _Judge
from kmi.boot.seed import SeedKind
from kmi.errors import BuildError, HostError, Interrupted
from kmi.host.locks import attempt
from kmi.host.space import Room
from kmi.model.checks import LOGIN_PROMPT
from kmi.model.platform import Arch, Firmware
from kmi.model.stages import CheckResult, Outcome

BOOT = Boot(arch=Arch.AMD64, firmware=Firmware.BIOS, seed=SeedKind.NOCLOUD, uuid="")


def machine(folder: Path, reason: str | None, words: str = "") -> Machine:
    """A machine that ended so, or runs (None); ``words`` are QEMU's last."""
    hardware: Any = SimpleNamespace(name="amd64/bios")
    one = Machine(hardware, log=folder / "qemu-bios.log")
    state: Any = SimpleNamespace(alive=lambda: reason is None, tail=lambda: words)
    control: Any = SimpleNamespace(reason=lambda: None if reason == "unknown" else reason)
    one._process, one._control = state, control
    return one


def judge(folder: Path, one: Machine, run: Callable[[Any], str]) -> list[CheckResult]:
    bench: Any = SimpleNamespace(
        step=SimpleNamespace(note=lambda _: None), scratch=folder / "scratch", logs=folder / "logs"
    )
    guest: Any = SimpleNamespace(machine=one, metadata={})
    judged = _Judge(bench, BOOT, guest)
    judged._picture = lambda: None  # type: ignore[method-assign]
    judged._one(Check(name=LOGIN_PROMPT, skip=everywhere, run=run))
    return judged.results


def gives_up(_: object) -> str:
    raise GaveUp("the machine ended")


@pytest.mark.parametrize("reason", ["unknown", "host-error", "host-signal", "host-qmp-quit"])
def test_a_check_on_a_machine_that_qemu_ended_is_no_result(tmp_path: Path, reason: str) -> None:
    with pytest.raises(BuildError, match="QEMU ended, and not its guest") as caught:
        judge(tmp_path, machine(tmp_path, reason, "qemu: assertion\x1b[2J failed"), gives_up)
    assert caught.value.log == tmp_path / "qemu-bios.log"
    assert str(caught.value.got).startswith(f"{reason}: qemu: assertion") and "\x1b" not in str(caught.value.got)


@pytest.mark.parametrize("reason", [None, "guest-shutdown", "guest-reset", "guest-panic"])
def test_what_the_guest_does_is_a_failed_check(tmp_path: Path, reason: str | None) -> None:
    (result,) = judge(tmp_path, machine(tmp_path, reason), gives_up)
    assert (result.outcome, result.detail) == (Outcome.FAILED, "the machine ended")


def test_a_check_that_passed_needs_no_machine_any_more(tmp_path: Path) -> None:
    (result,) = judge(tmp_path, machine(tmp_path, "unknown"), lambda _: "seen")
    assert result.outcome is Outcome.PASSED


@pytest.mark.parametrize("which", ["scratch", "logs"])
def test_a_full_disk_is_not_the_guests_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    (tmp_path / which).mkdir()

    def look(folder: Path) -> Room:
        return Room(folder=folder, free=0 if folder.name == which else 1 << 40, files=None, device=1)

    monkeypatch.setattr("kmi.host.space.look", look)
    with pytest.raises(HostError, match="the disk is full") as caught:
        judge(tmp_path, machine(tmp_path, None), gives_up)
    assert caught.value.where == tmp_path / which


def test_a_test_boots_each_firmware_once_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    booted, logs = [], tmp_path / "logs"

    def run(bench: Any, boot: Boot) -> Seen:
        assert attempt(logs / ".lock") is None, "another test may write to these logs meanwhile"
        booted.append(boot.machine)
        return rounds.unseen(bench, boot, "simulated")

    monkeypatch.setattr(checking, "run", run)
    monkeypatch.setattr("kmi.boot.layerdisk.locate", lambda *_: None)
    monkeypatch.setattr("kmi.boot.ssh.new_key", lambda _: None)
    step: Any = SimpleNamespace(note=lambda _: None)
    acceleration: Any = SimpleNamespace(name="kvm")
    subject: Any = "sha256:00"
    checking.check(
        tmp_path, subject, Arch.AMD64, metadata={"init": "", "agent": "", "user": ""},
        machines=(Firmware.BIOS, Firmware.UEFI, Firmware.BIOS), acceleration=acceleration, scratch=tmp_path,
        logs=logs, step=step,
    )  # fmt: skip
    assert booted == ["amd64/bios", "amd64/uefi"]
    assert list(logs.iterdir()) == []


def test_a_guest_that_does_not_power_off_is_not_awaited_once_the_run_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, asked = machine(tmp_path, None), list[float]()
    one._process.wait = lambda seconds: bool(asked.append(seconds))  # type: ignore[union-attr, method-assign, assignment]
    assert one.wait(0) is False
    monkeypatch.setattr("kmi.boot.qemu.stopping", lambda: True)
    with pytest.raises(Interrupted):
        one.wait(60)
    assert len(asked) == 2 and asked[1] <= 1
