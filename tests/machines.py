"""Machines for tests, from the disk of an image's layer, and waiting for what they say."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
import zlib
from pathlib import Path
from typing import Any

from kmi.boot import layerdisk
from kmi.boot.console import Console, Patience, wait
from kmi.boot.hardware import Hardware
from kmi.boot.qemu import Machine
from kmi.host.accel import Acceleration
from kmi.model.digest import Digest
from kmi.model.platform import Arch, Firmware

TCG = Acceleration(name="tcg", cpu="max", why="the tests do not depend on the host")
TCG_ARM64 = Acceleration(name="tcg", cpu="cortex-a72", why="the tests do not depend on the host")
PATIENCE = Patience(quiet=60, overall=120, least=60)
UUID = "00000000-0000-4000-8000-000000000001"


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

    def blob(data: bytes) -> dict[str, Any]:
        name = hashlib.sha256(data).hexdigest()
        (layout / "blobs/sha256" / name).write_bytes(data)
        return {"mediaType": "application/octet-stream", "digest": f"sha256:{name}", "size": len(data)}

    layer = gzip.compress(out.getvalue()) if compress else out.getvalue()
    manifest = blob(json.dumps({"schemaVersion": 2, "layers": [blob(layer)]}).encode())
    return layout, Digest.parse(manifest["digest"])


def machine_of(
    folder: Path,
    disk: bytes,
    firmware: Firmware,
    sock: Path,
    *,
    arch: Arch = Arch.AMD64,
    spare: Path | None = None,
    memory: int = 256,
) -> tuple[Hardware, layerdisk.LayerDisk]:
    """The hardware with ``disk`` as its root, emulated, and where the disk lies. Logs go to ``folder/logs``."""
    layout, manifest = wrapped(folder, disk)
    found = layerdisk.locate(layout, manifest, folder)
    layerdisk.overlay(found, folder / "overlay.qcow2")
    hardware = Hardware(
        arch=arch, firmware=firmware, acceleration=TCG_ARM64 if arch is Arch.ARM64 else TCG,
        overlay=folder / "overlay.qcow2", seed=None, spare=spare, folder=sock,
        console=folder / "logs" / f"console-{firmware}.log", uuid=UUID, memory=memory,
    )  # fmt: skip
    return hardware, found


def console_of(machine: Machine) -> Console:
    return Console(machine.hardware.console, firmware=machine.hardware.firmware_log)


def said(machine: Machine, text: str) -> Console:
    """The machine's console, once it holds ``text``. GaveUp if that does not come."""
    console = console_of(machine)
    wait(
        lambda: text in console.text() or None, console=console, alive=machine.alive, patience=PATIENCE,
        told=lambda _: None, pause=0.1,
    )  # fmt: skip
    return console


def pid_of(machine: Machine) -> int:
    assert machine._process is not None
    return machine._process.pid


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def scanlines(png: Path) -> tuple[int, int, list[bytes]]:
    """Width, height, and the different scanlines of a picture, as they are packed: without the byte for the filter."""
    data = png.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR"
    width, height = struct.unpack(">II", data[16:24])
    packed, at = b"", 8
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        assert zlib.crc32(data[at + 4 : at + 8 + size]) == struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0]
        packed += data[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += 12 + size
    lines = zlib.decompress(packed)
    assert len(lines) % height == 0
    row = len(lines) // height
    return width, height, sorted({lines[at + 1 : at + row] for at in range(0, len(lines), row)})
