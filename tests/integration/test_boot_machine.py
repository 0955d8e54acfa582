"""A machine really boots, from the bytes of a layer, in seconds: the disk is a boot sector that writes to ttyS0."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kmi.boot import display
from kmi.boot.check import check
from kmi.boot.qemu import Machine, sockets
from kmi.errors import BuildError
from kmi.host.store import hash_file
from kmi.host.ui import Reporter
from kmi.model.digest import Digest
from kmi.model.platform import Arch, Firmware
from kmi.model.stages import Outcome
from tests.boot_sector import RESTART_ONCE, boot_sector, power_off_sector, reset_sector, second_disk_sector
from tests.efi_disk import efi_disk
from tests.machines import TCG, gone, machine_of, pid_of, said, scanlines, wrapped

METADATA = {"init": "", "agent": "absent", "user": ""}


def as_qcow2(raw: bytes, folder: Path) -> bytes:
    (folder / "made.img").write_bytes(raw)
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"]
    subprocess.run([*argv, str(folder / "made.img"), str(folder / "made.qcow2")], check=True)
    return (folder / "made.qcow2").read_bytes()


def examined(folder: Path, layout: Path, manifest: Digest, metadata: dict[str, str] = METADATA):
    (folder / "scratch").mkdir()
    with Reporter(io.StringIO()).step("test-1-amd64", "boot") as step:
        return check(
            layout, manifest, Arch.AMD64, metadata=metadata, machines=(Firmware.BIOS,), acceleration=TCG,
            scratch=folder / "scratch", logs=folder / "logs", step=step,
        )  # fmt: skip


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_seabios_boots_from_the_layers_bytes_and_leaves_them_alone(tmp_path, form):
    raw = boot_sector(b"from the layer\r\n")
    with sockets(tmp_path) as folder:
        disk = raw if form == "raw" else as_qcow2(raw, tmp_path)
        hardware, found = machine_of(tmp_path, disk, Firmware.BIOS, folder)
        assert found.format == form and found.offset % 512 == 0 and found.offset > 512
        before = hash_file(found.file)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            assert said(machine, "from the layer").reached() == "the firmware"
            pid = pid_of(machine)
            assert not gone(pid)
        assert gone(pid)
        assert hash_file(found.file) == before
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(hardware.overlay), str(tmp_path / "after.img")], check=True)
    after = (tmp_path / "after.img").read_bytes()
    assert after[512:1024] == raw[:512], "the guest's write is in the overlay"


def test_ovmf_runs_and_says_on_the_serial_console_that_nothing_boots(tmp_path):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, bytes(1 << 20), Firmware.UEFI, folder)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            assert said(machine, "BdsDxe").reached() == "the firmware"


@pytest.mark.parametrize("firmware", [Firmware.UEFI, Firmware.SECURE_BOOT])
def test_ovmf_starts_an_application_of_ours_unless_it_demands_a_signature(tmp_path, firmware):
    disk = efi_disk(tmp_path / "disk", Arch.AMD64, "\r\nkmi login: ")
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, disk, firmware, folder)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            if firmware is Firmware.UEFI:
                assert said(machine, "kmi login: ").login_prompt()
            else:
                assert not said(machine, "Access Denied").login_prompt()


def test_four_machines_at_once_share_nothing_and_leave_nothing(tmp_path):
    ready, seen = threading.Barrier(5, timeout=120), {}

    def live(name: str) -> None:
        (tmp_path / name).mkdir()
        with sockets(tmp_path) as folder:
            hardware, _ = machine_of(tmp_path / name, boot_sector(name.encode()), Firmware.BIOS, folder)
            with Machine(hardware, log=tmp_path / f"{name}.log") as machine:
                said(machine, name)
                seen[name] = (machine.ssh_port, folder, pid_of(machine))
                ready.wait()  # all four say what is theirs ...
                ready.wait()  # ... before one of them goes

    names = ("one", "two", "three", "four")
    threads = [threading.Thread(target=live, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    ready.wait()
    ports, folders, pids = zip(*seen.values(), strict=True)
    assert len(set(ports)) == len(set(folders)) == len(set(pids)) == 4 and min(ports) > 0
    assert not any(gone(pid) for pid in pids)
    ready.wait()
    for thread in threads:
        thread.join(60)
    assert all(gone(pid) for pid in pids) and not any(folder.exists() for folder in folders)


@pytest.mark.parametrize(("sector", "reason"), [(power_off_sector, "guest-shutdown"), (reset_sector, "guest-reset")])
def test_a_machine_tells_why_its_guest_ended(tmp_path, sector, reason):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, sector(), Firmware.BIOS, folder)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            machine.end_at_reset()
            assert machine.wait(60) and not machine.alive()
            assert machine.ended() == reason
            machine.power_button()  # nobody is there to press it for
            with pytest.raises(BuildError, match="screendump"):
                machine.screenshot(tmp_path / "screen.png")


def test_a_guest_may_restart_at_its_first_start(tmp_path):
    layout, manifest = wrapped(tmp_path, boot_sector(b"\r\nkmi login: ", RESTART_ONCE))
    prompt = examined(tmp_path, layout, manifest).results[0]
    assert (prompt.check, prompt.outcome) == ("login-prompt", Outcome.PASSED)
    assert prompt.detail.endswith("after it restarted itself")


def test_a_guest_that_restarts_for_ever_does_not_come_up(tmp_path):
    layout, manifest = wrapped(tmp_path, reset_sector())
    prompt = examined(tmp_path, layout, manifest).results[0]
    assert (prompt.check, prompt.outcome) == ("login-prompt", Outcome.FAILED)
    assert "restarts again and again" in prompt.detail and "the firmware" in prompt.detail


def test_a_machine_that_runs_has_not_ended_and_one_that_kmi_stops_has(tmp_path):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, boot_sector(b"here"), Firmware.BIOS, folder)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            said(machine, "here")
            assert machine.ended() is None and not machine.wait(0.1)
        assert machine.ended() == "host-signal"


@pytest.mark.parametrize("press", [Machine.power_button, lambda machine: machine.shutdown(agent=False, grace=0)])
def test_the_power_button_reaches_the_guest(tmp_path, press):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, boot_sector(b"here"), Firmware.BIOS, folder)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            said(machine, "here")
            press(machine)
            assert machine.wait(60) and machine.ended() == "guest-shutdown"


def test_a_guest_that_does_not_listen_is_not_waited_for_longer_than_granted(tmp_path):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, second_disk_sector(), Firmware.BIOS, folder)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            assert not machine.shutdown(agent=False, grace=0.5)
            assert machine.alive() and machine.ended() is None


def test_a_machine_that_is_killed_ended_without_a_word(tmp_path):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, boot_sector(b"x"), Firmware.BIOS, folder)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            os.kill(pid_of(machine), signal.SIGKILL)
            assert machine.wait(10)
            assert machine.ended() == "unknown"


def test_a_screenshot_shows_what_seabios_wrote(tmp_path):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, boot_sector(b"here"), Firmware.BIOS, folder)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            said(machine, "here")
            machine.screenshot(tmp_path / "screen.png")
            display._by_way_of_ppm(machine._connected(), tmp_path / "old.png")
    width, height, lines = scanlines(tmp_path / "screen.png")
    assert (width, height) == (720, 400)  # VGA's text mode
    assert len(lines) > 10, "letters make many different lines, a blank screen one"
    assert scanlines(tmp_path / "old.png")[:2] == (720, 400)
    assert len(scanlines(tmp_path / "old.png")[2]) > 10
    assert not (tmp_path / "old.png.ppm").exists()


def test_a_second_disk_has_the_size_of_its_file(tmp_path):
    spare = tmp_path / "spare.img"
    with spare.open("wb") as file:
        file.truncate(54321 * 512)
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, second_disk_sector(), Firmware.BIOS, folder, spare=spare)
        with Machine(hardware, log=tmp_path / "qemu.log"):
            deadline = time.monotonic() + 60
            while len(hardware.console.read_bytes()) < 8 and time.monotonic() < deadline:
                time.sleep(0.1)
    assert hardware.console.read_bytes()[-8:] == struct.pack("<Q", 54321)


def test_a_machine_ends_with_its_block_also_on_an_error(tmp_path):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, boot_sector(b"x"), Firmware.BIOS, folder)
        with pytest.raises(KeyboardInterrupt):
            with Machine(hardware, log=tmp_path / "qemu.log") as machine:
                pid = pid_of(machine)
                raise KeyboardInterrupt
        assert gone(pid)


def test_kubevirts_identity_reaches_the_guest(tmp_path):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, boot_sector(b"x"), Firmware.BIOS, folder)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            assert machine.call("query-uuid") == {"UUID": hardware.uuid}
            with pytest.raises(BuildError, match="refused no-such-command"):
                machine.call("no-such-command")


def test_qemu_that_does_not_start_is_a_build_error_with_its_words(tmp_path):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, boot_sector(b"x"), Firmware.BIOS, folder)
        (tmp_path / "overlay.qcow2").unlink()
        began = time.monotonic()
        with pytest.raises(BuildError, match="did not start") as caught:
            Machine(hardware, log=tmp_path / "qemu.log").__enter__()
        assert "overlay.qcow2" in str(caught.value.got)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("compress", [False, True])
def test_the_whole_check_sees_a_login_prompt_and_says_why_it_skips_the_rest(tmp_path, compress):
    layout, manifest = wrapped(tmp_path, as_qcow2(boot_sector(b"\r\nkmi login: "), tmp_path), compress=compress)
    report = examined(tmp_path, layout, manifest)
    assert (report.subject, report.arch) == (manifest, Arch.AMD64)
    passed = [result for result in report.results if result.outcome is Outcome.PASSED]
    assert {(result.check, result.machine) for result in passed} == {
        ("login-prompt", "amd64/bios"), ("acpi-shutdown", "amd64/bios"),
    }  # fmt: skip
    assert {"guest-agent", "cloud-init", "ssh"} <= {result.check for result in report.results}
    assert all(result.outcome is Outcome.SKIPPED and result.detail for result in report.results if result not in passed)
    assert "kmi login: " in (tmp_path / "logs/console-bios.log").read_text()
    assert "+ " in (tmp_path / "logs/qemu-bios.log").read_text()


def test_a_disk_that_does_not_boot_fails_at_once_and_says_how_far_it_came(tmp_path):
    layout, manifest = wrapped(tmp_path, bytes(1 << 20))
    began = time.monotonic()
    report = examined(tmp_path, layout, manifest)
    result = report.results[0]
    assert (result.check, result.outcome) == ("login-prompt", Outcome.FAILED)
    assert "No bootable device" in result.detail and "the firmware" in result.detail
    assert time.monotonic() - began < 30


def test_a_machine_dies_with_kmi(tmp_path):
    """SIGKILL leaves no chance to clean up; the kernel does it (prctl(2), PR_SET_PDEATHSIG)."""
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, boot_sector(b"x"), Firmware.BIOS, folder)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                machine = Machine(hardware, log=tmp_path / "qemu.log").__enter__()
                os.write(writer, str(pid_of(machine)).encode())
                time.sleep(60)
            finally:
                os._exit(1)
        os.close(writer)
        pid = int(os.read(reader, 20))
        os.close(reader)
        assert not gone(pid)
        os.kill(child, 9)
        os.waitpid(child, 0)
        deadline = time.monotonic() + 5
        while not gone(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert gone(pid)


RUNS_ONE = """
import sys, time
from pathlib import Path
from kmi.boot.qemu import Machine, sockets
from kmi.model.platform import Firmware
from tests.boot_sector import boot_sector
from tests.machines import machine_of, pid_of, said
folder = Path(sys.argv[1])
with sockets(folder) as sock:
    hardware, _ = machine_of(folder, boot_sector(b"here"), Firmware.BIOS, sock)
    with Machine(hardware, log=folder / "qemu.log") as machine:
        said(machine, "here")
        print(pid_of(machine), flush=True)
        time.sleep(60)
"""


def test_ctrl_c_leaves_no_machine_and_no_sockets(tmp_path):
    argv = ["env", "--default-signal=INT", sys.executable, "-c", RUNS_ONE, str(tmp_path)]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pid = int(child.stdout.readline())
    assert not gone(pid)
    child.send_signal(signal.SIGINT)
    _, words = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in words
    assert gone(pid) and not list(tmp_path.glob("kmi-vm-*"))
