import re
import time
from pathlib import Path

import pytest

from kmi.boot.console import Console, GaveUp, Patience, readable, wait
from kmi.host.accel import Acceleration

BOOT = (
    b"\x1b[2J\x1b[01;01HBdsDxe: starting Boot0001\r\nGRUB\r\n"
    b"[    0.000000] Linux version 6.1.0\r\n\x1b[0;1;39mWelcome to Debian\x1b[0m\r\n"
)
SHORT = Patience(quiet=0.3, overall=1.0, least=0.0)


def console(tmp_path: Path, data: bytes, firmware: bytes | None = None) -> Console:
    (tmp_path / "console.log").write_bytes(data)
    if firmware is None:
        return Console(tmp_path / "console.log")
    (tmp_path / "firmware.log").write_bytes(firmware)
    return Console(tmp_path / "console.log", firmware=tmp_path / "firmware.log")


def test_terminal_sequences_are_removed():
    assert (
        readable(b"\x1b[0;32m  OK  \x1b[0m] a\r\n\x1b]0;title\x07b\x1b(Bc\xff")
        == "  OK  ] a\nbc\N{REPLACEMENT CHARACTER}"
    )


@pytest.mark.parametrize(
    ("tail", "there"),
    [
        (b"\r\nDebian GNU/Linux 12 kmi-test ttyS0\r\n\r\nkmi-test login: ", True),
        (b"\r\nlocalhost login: [   40.1] late kernel message\r\n", True),
        (b"\r\nFreeBSD/amd64 (kmi-test) (ttyu0)\r\n\r\nlogin: ", True),
        (b"\r\nLast login: Thu Nov 20\r\n", False),
        (b"\r\nwaiting for the login: ", False),
        (b"", False),
    ],
)
def test_a_login_prompt_is_the_word_after_a_host_name_or_alone(tmp_path, tail, there):
    assert console(tmp_path, BOOT + tail).login_prompt() is there


@pytest.mark.parametrize(
    ("data", "stage"),
    [
        (b"", "nothing that writes to a console"),
        (BOOT[:40], "the firmware"),
        (BOOT[:48], "the boot loader"),
        (BOOT[: BOOT.index(b"\x1b[0;1")], "the kernel"),
        (BOOT, "init"),
        (BOOT + b"\r\nhost login: ", "the login prompt"),
    ],
)
def test_how_far_it_came(tmp_path, data, stage):
    assert console(tmp_path, data).reached() == stage


@pytest.mark.parametrize(
    ("data", "firmware", "message"),
    [
        (b"[ 1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n", b"", "Kernel panic - not syncing"),
        (b"You are in emergency mode. After logging in\r\n", b"", "You are in emergency mode"),
        (b"", b"Booting from Hard Disk...\nNo bootable device.\n", "No bootable device"),
        (b"BdsDxe: No bootable option or device was found.\r\n", b"", "No bootable option"),
        (b"UEFI Interactive Shell v2.2\r\n", b"", "UEFI Interactive Shell"),
    ],
)
def test_dead_ends(tmp_path, data, firmware, message):
    assert message in (console(tmp_path, data, firmware).dead_end() or "")


def test_a_healthy_boot_is_no_dead_end(tmp_path):
    assert console(tmp_path, BOOT, b"SeaBIOS (version 1.16.2)\nBooting from Hard Disk...\n").dead_end() is None


def test_waiting_returns_what_was_found(tmp_path):
    found = iter([None, None, "there"])
    lines: list[str] = []
    value = wait(
        lambda: next(found), console=console(tmp_path, b"a\r\nlast\r\n\r\n"), alive=lambda: True, patience=SHORT,
        told=lines.append, pause=0.01,
    )  # fmt: skip
    assert (value, lines) == ("there", ["last", "last"])


def test_a_machine_that_ended_is_given_up_after_one_more_look(tmp_path):
    looks: list[int] = []
    with pytest.raises(GaveUp, match="the machine ended; it came as far as init"):
        wait(
            lambda: looks.append(1), console=console(tmp_path, BOOT), alive=lambda: False, patience=SHORT,
            told=lambda _: None,
        )  # fmt: skip
    assert len(looks) == 1


def test_a_silent_console_is_given_up_but_one_that_talks_is_not(tmp_path):
    log = tmp_path / "console.log"
    subject = console(tmp_path, b"start\r\n")
    patience = Patience(quiet=0.3, overall=60, least=0.0)
    talk_until = time.monotonic() + 0.9

    def talk() -> None:
        if time.monotonic() < talk_until:
            with log.open("ab") as file:
                file.write(b".")

    began = time.monotonic()
    with pytest.raises(GaveUp, match=re.compile("silent")):
        wait(talk, console=subject, alive=lambda: True, patience=patience, told=lambda _: None, pause=0.05)
    assert time.monotonic() - began >= 1.1


def test_overall_ends_even_a_talkative_guest(tmp_path):
    log = tmp_path / "console.log"

    def talk() -> None:
        with log.open("ab") as file:
            file.write(b".")

    with pytest.raises(GaveUp, match="not there after"):
        wait(
            talk, console=console(tmp_path, b""), alive=lambda: True, patience=SHORT, told=lambda _: None, pause=0.05
        )  # fmt: skip


def test_a_late_wait_is_granted_the_least_time(tmp_path):
    subject = console(tmp_path, b"x")
    subject.silent_for()
    time.sleep(0.35)
    began = time.monotonic()
    with pytest.raises(GaveUp, match="silent"):
        wait(
            lambda: None, console=subject, alive=lambda: True, told=lambda _: None, pause=0.05,
            patience=Patience(quiet=0.3, overall=60, least=0.5),
        )  # fmt: skip
    assert time.monotonic() - began >= 0.5


def test_emulation_gets_more_patience():
    slow = Patience.of(Acceleration(name="tcg", cpu="max", why=""))
    fast = Patience.of(Acceleration(name="kvm", cpu="host", why=""))
    assert slow.quiet > fast.quiet and slow.overall > fast.overall and slow.least > fast.least
