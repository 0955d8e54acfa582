"""From the customised disk to the one that is published: its virtual size, and qcow2 with zstd clusters."""

from __future__ import annotations

import json
from pathlib import Path

from kmi.disk.gpt import extended
from kmi.errors import BuildError
from kmi.host.run import run
from kmi.host.store import hash_file
from kmi.host.ui import Step
from kmi.model.stages import CustomDisk, Disk

VERSION = 1
DISK = "disk.qcow2"
_RAW = "unpacked.raw"
_PARALLEL = "8"
"""Coroutines of the conversion. ``-W`` would let them write out of order, and the bytes would differ run by run."""


def finish(disk: CustomDisk, *, virtual_size: int, out: Path, log: Path, step: Step) -> Disk:
    """Write ``out/disk.qcow2``: at least ``virtual_size`` bytes large for the guest, compressed, and checked.

    A pure function of the customised disk's bytes: an overlay takes the changed partition table, so the input is
    never written. BuildError if the disk is larger than ``virtual_size`` or the result fails ``qemu-img check``.
    """
    size = _virtual_size(disk.path, disk.format)
    if size > virtual_size:
        raise BuildError("the disk is larger than asked", expected=f"{virtual_size} bytes", got=f"{size} bytes")
    overlay, target = out / "overlay.qcow2", out / DISK
    raw = disk.path if disk.format == "raw" else _unpacked(disk, out, log)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, overlay, str(virtual_size)], log=log)
    _extend_table(raw, overlay, virtual_size, out, log)
    step.watch(target, "compressing:")
    run(["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", "-c", "-m", _PARALLEL,
         "-o", "compression_type=zstd", overlay, target], log=log)  # fmt: skip
    overlay.unlink()
    (out / _RAW).unlink(missing_ok=True)
    run(["qemu-img", "check", "-q", "-f", "qcow2", target], log=log)
    target.chmod(0o444)
    return Disk(
        id=disk.id, path=target, digest=hash_file(target), size=target.stat().st_size, virtual_size=virtual_size
    )


def _unpacked(disk: CustomDisk, out: Path, log: Path) -> Path:
    """A sparse raw copy: the partition table is read from it."""
    raw = out / _RAW
    run(["qemu-img", "convert", "-f", disk.format, "-O", "raw", disk.path, raw], log=log)
    return raw


def _extend_table(raw: Path, overlay: Path, virtual_size: int, scratch: Path, log: Path) -> None:
    """Fit the partition table to the new size, in the overlay, through qemu-io."""
    with raw.open("rb") as file:

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        try:
            patches = extended(read, virtual_size)
        except ValueError as error:
            raise BuildError("the disk's partition table is damaged", got=error, where=raw) from error
    for number, patch in enumerate(patches):
        part = scratch / f"patch-{number}"
        part.write_bytes(patch.data)
        command = f"write -q -s {part.name} {patch.offset} {len(patch.data)}"  # qemu-io splits at blanks
        run(["qemu-io", "-f", "qcow2", "-c", command, overlay], cwd=scratch, log=log)
        part.unlink()


def _virtual_size(path: Path, format: str) -> int:  # noqa: A002 -- QEMU's own word
    report = run(["qemu-img", "info", "--output", "json", "-f", format, path]).stdout
    return int(json.loads(report)["virtual-size"])
