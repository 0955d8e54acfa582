"""A machine really boots, from the bytes of a layer, in seconds: the disk is a boot sector that writes to ttyS0."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from kmi.boot import layerdisk
from kmi.boot.check import check
from kmi.boot.console import Console, Patience, wait
from kmi.boot.hardware import Hardware
from kmi.boot.qemu import Machine, sockets
from kmi.boot.qmp import Qmp
from kmi.errors import BuildError
from kmi.host.accel import Acceleration
from kmi.host.store import hash_file
from kmi.host.ui import Reporter
from kmi.model.digest import Digest
from kmi.model.platform import Arch, Firmware
from kmi.model.stages import Outcome
from tests.boot_sector import boot_sector

TCG = Acceleration(name="tcg", cpu="max", why="the tests do not depend on the host")
PATIENCE = Patience(quiet=60, overall=120, least=60)
METADATA = {"init": "", "agent": "absent", "user": ""}


def as_qcow2(raw: bytes, folder: Path) -> bytes:
    (folder / "made.img").write_bytes(raw)
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"]
    subprocess.run([*argv, str(folder / "made.img"), str(folder / "made.qcow2")], check=True)
    return (folder / "made.qcow2").read_bytes()


def wrapped(folder: Path, disk: bytes, *, compress: bool = False) -> tuple[Path, Digest]:
    """An OCI layout whose only layer holds ``disk`` behind another member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in (("kmi/title", b"a boot sector"), ("disk/disk.img", disk)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    layout = folder / "oci"
    (layout / "blobs/sha256").mkdir(parents=True)

    def blob(data: bytes) -> dict:
        name = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / name).write_bytes(data)
        return {"mediaType": "application/octet-stream", "digest": f"sha256:{name}", "size": len(data)}

    layer = gzip.compress(out.getvalue()) if compress else out.getvalue()
    manifest = blob(json.dumps({"schemaVersion": 2, "layers": [blob(layer)]}).encode())
    return layout, Digest.parse(manifest["digest"])


def machine_of(folder: Path, disk: bytes, firmware: Firmware, sock: Path) -> tuple[Hardware, layerdisk.LayerDisk]:
    layout, manifest = wrapped(folder, disk)
    found = layerdisk.locate(layout, manifest, folder)
    layerdisk.overlay(found, folder / "overlay.qcow2")
    hardware = Hardware(
        arch=Arch.AMD64, firmware=firmware, acceleration=TCG, overlay=folder / "overlay.qcow2", seed=None, folder=sock,
        console=folder / "logs" / f"console-{firmware}.log", uuid="00000000-0000-4000-8000-000000000001", memory=256,
    )  # fmt: skip
    return hardware, found


def examined(folder: Path, layout: Path, manifest: Digest, metadata: dict[str, str] = METADATA):
    (folder / "scratch").mkdir()
    with Reporter(io.StringIO()).step("test-1-amd64", "boot") as step:
        return check(
            layout, manifest, Arch.AMD64, metadata=metadata, machines=(Firmware.BIOS,), acceleration=TCG,
            scratch=folder / "scratch", logs=folder / "logs", step=step,
        )  # fmt: skip


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_seabios_boots_from_the_layers_bytes_and_leaves_them_alone(tmp_path, form):
    raw = boot_sector(b"from the layer\r\n")
    with sockets(tmp_path) as folder:
        disk = raw if form == "raw" else as_qcow2(raw, tmp_path)
        hardware, found = machine_of(tmp_path, disk, Firmware.BIOS, folder)
        assert found.format == form and found.offset % 512 == 0 and found.offset > 512
        before = hash_file(found.file)
        with Machine(hardware, log=tmp_path / "qemu.log") as machine:
            console = Console(hardware.console, firmware=hardware.firmware_log)
            wait(
                lambda: "from the layer" in console.text() or None, console=console, alive=machine.alive,
                patience=PATIENCE, told=lambda _: None, pause=0.1,
            )  # fmt: skip
            assert console.reached() == "the firmware"
            pid = machine._process.pid  # type: ignore[union-attr]
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
            console = Console(hardware.console, firmware=hardware.firmware_log)
            wait(
                lambda: "BdsDxe" in console.text() or None, console=console, alive=machine.alive, patience=PATIENCE,
                told=lambda _: None, pause=0.1,
            )  # fmt: skip
            assert console.reached() == "the firmware"


def test_two_machines_at_once_share_nothing(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with sockets(tmp_path) as first, sockets(tmp_path) as second:
        one, _ = machine_of(tmp_path / "one", boot_sector(b"one"), Firmware.BIOS, first)
        two, _ = machine_of(tmp_path / "two", boot_sector(b"two"), Firmware.BIOS, second)
        with Machine(one, log=tmp_path / "1.log") as left, Machine(two, log=tmp_path / "2.log") as right:
            assert left.alive() and right.alive()
            assert left.ssh_port != right.ssh_port
            assert min(left.ssh_port, right.ssh_port) > 0


def test_a_machine_ends_with_its_block_also_on_an_error(tmp_path):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, boot_sector(b"x"), Firmware.BIOS, folder)
        with pytest.raises(KeyboardInterrupt):
            with Machine(hardware, log=tmp_path / "qemu.log") as machine:
                pid = machine._process.pid  # type: ignore[union-attr]
                raise KeyboardInterrupt
        assert gone(pid)


def test_kubevirts_identity_reaches_the_guest(tmp_path):
    with sockets(tmp_path) as folder:
        hardware, _ = machine_of(tmp_path, boot_sector(b"x"), Firmware.BIOS, folder)
        with Machine(hardware, log=tmp_path / "qemu.log"), Qmp(hardware.qmp) as qmp:
            assert qmp.call("query-uuid") == {"UUID": hardware.uuid}
            with pytest.raises(BuildError, match="refused no-such-command"):
                qmp.call("no-such-command")


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
    outcomes = {result.check: result.outcome for result in report.results}
    assert outcomes == {
        "login-prompt": Outcome.PASSED, "guest-agent": Outcome.SKIPPED,
        "cloud-init": Outcome.SKIPPED, "ssh": Outcome.SKIPPED,
    }  # fmt: skip
    assert all(result.detail and result.machine == "amd64/bios" for result in report.results)
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
                os.write(writer, str(machine._process.pid).encode())  # type: ignore[union-attr]
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
