"""``kmi build`` of a stranger's disk with a valid checksum and signature: exit 4, nothing named, and no program saw it.

Programs are watched by their stand-ins on PATH, which write down their arguments and then are the real ones.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import struct
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from backports import zstd

from tests import tiny
from tests.fault_record import record, repeat, seeds

MIB = 1 << 20
RAW = bytes(range(256)) * 2048 + bytes(MIB // 2)
WATCHED = ("qemu-img", "qemu-io", "qemu-nbd", "qemu-system-x86_64", "virt-customize", "guestfish", "tar", "gzip", "xz",
           "bzip2", "zstd", "file", "losetup", "mount")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class World:
    kmi: tiny.Kmi
    calls: Path
    path: str

    def build(self, name: str) -> subprocess.CompletedProcess[str]:
        self.calls.write_text("")
        return self.kmi("build", name, PATH=self.path, timeout=120)

    def opened(self) -> list[str]:
        """The calls that are about files."""
        return [line for line in self.calls.read_text().splitlines() if not line.endswith(" --version")]

    def unnamed(self) -> bool:
        """Nothing but finished images is in the cache, and none is there of what was refused."""
        folders = [self.kmi.cache / name for name in ("blobs", "partial", "locked", "stages")]
        return not [path for folder in folders for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("hostile")
    calls, stands = root / "calls", root / "stands"
    stands.mkdir()
    for name in WATCHED:
        if real := shutil.which(name):
            (stands / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{calls}\nexec {real} "$@"\n')
            (stands / name).chmod(0o755)
    up = tiny.make(root / "upstream")
    (root / "kmi").mkdir()
    with tiny.served(up.www) as mirrors:
        kmi = tiny.Kmi(folder=root / "kmi", tiny=up, base=tiny.local_base(root), mirrors=mirrors)
        yield World(kmi=kmi, calls=calls, path=f"{stands}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def fresh(world: World) -> World:
    for folder in ("blobs/sha256", "partial", "locked", "stages"):
        shutil.rmtree(world.kmi.cache / folder, ignore_errors=True)
    return world


def publish(world: World, disk: bytes, **image: str) -> None:
    up = world.kmi.tiny
    up.publish("tiny", disk, cloud_image=tiny.manifest("tiny", up.fingerprint)["cloud_image"] | image)


# The makers of hostile disks: each gets an empty folder, and gives the bytes and what the manifest says of them.
Made = tuple[bytes, dict[str, str]]


def qemu(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


def good(folder: Path, form: str = "qcow2", *options: str) -> bytes:
    (folder / "good.raw").write_bytes(RAW)
    qemu("convert", "-f", "raw", "-O", form, *options, folder / "good.raw", folder / f"good.{form}")
    return (folder / f"good.{form}").read_bytes()


def created(*options: str, size: str = "1M", form: str = "qcow2") -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        (folder / "base").write_bytes(RAW)
        words = [option.format(folder=folder) for option in options]
        qemu("create", "-q", "-f", form, *words, folder / "disk", *([] if "-b" in words else [size]))
        return (folder / "disk").read_bytes(), {"format": form}

    return make


def then(*words: str) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        good(folder)
        qemu(*(word.format(disk=folder / "good.qcow2") for word in words))
        return (folder / "good.qcow2").read_bytes(), {"format": "qcow2"}

    return make


def bent(at: int | str, data: bytes, form: str = "qcow2") -> Callable[[Path], Made]:
    """``at`` is a byte, or the table whose first entry is replaced: l1, l2, refcounts, directory (of a vmdk)."""

    def make(folder: Path) -> Made:
        disk = bytearray(good(folder, form))
        (l1, refcounts), directory = struct.unpack_from(">2Q", disk, 40), struct.unpack_from("<Q", disk, 56)[0] * 512
        if form == "vmdk":
            offset = directory if at == "directory" else at
        else:
            l2 = struct.unpack_from(">Q", disk, l1)[0] & ~(1 << 63)
            offset = {"l1": l1, "l2": l2, "refcounts": refcounts}.get(str(at), at)
        disk[int(offset) : int(offset) + len(data)] = data
        return bytes(disk), {"format": form}

    return make


def cut(form: str, part: float) -> Callable[[Path], Made]:
    def make(folder: Path) -> Made:
        disk = good(folder, form)
        return disk[: int(len(disk) * part) // 512 * 512], {"format": form}

    return make


def posing(real: str, told: str) -> Callable[[Path], Made]:
    return lambda folder: (RAW if real == "raw" else good(folder, real), {"format": told})


def child_vmdk(folder: Path) -> Made:
    good(folder, "vmdk")
    return created("-b", "{folder}/good.vmdk", "-F", "vmdk", form="vmdk")(folder)


def flat_vmdk(folder: Path) -> Made:
    """Capacity 0: QEMU then opens what the descriptor names, here a file of the host."""
    disk = bytearray(good(folder, "vmdk"))
    disk[12:20] = bytes(8)
    text = b'CID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 1 FLAT "/etc/passwd" 0\n'
    disk[512 : 512 * 21] = text.ljust(512 * 20, b"\0")
    return bytes(disk), {"format": "vmdk"}


def packed(
    kind: str, change: Callable[[bytes], bytes] = bytes, disk: bytes = RAW, **image: str
) -> Callable[[Path], Made]:
    pack = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zstd.compress}[kind]
    return lambda _: (change(pack(disk)), {"compression": kind, **image})


def bomb(kind: str) -> Callable[[Path], Made]:
    """3 GiB of zeros."""
    return packed(kind, lambda piece: piece * 48, bytes(64 * MIB))


def greedy_xz(_: Path) -> Made:
    """A dictionary of 3 GiB is announced (the .xz file format, 5.3.1)."""
    disk = bytearray(lzma.compress(RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 4096}]))
    disk[16] = 39
    end = 12 + (disk[12] + 1) * 4
    disk[end - 4 : end] = struct.pack("<I", zlib.crc32(disk[12 : end - 4]))
    return bytes(disk), {"compression": "xz"}


def greedy_zstd(_: Path) -> Made:
    parameter = zstd.CompressionParameter
    large = zstd.ZstdCompressor(options={parameter.window_log: 30, parameter.enable_long_distance_matching: 1})
    return large.compress(RAW) + large.flush(), {"compression": "zst"}


def archive(*members: tuple[str, bytes, bytes], pack: str = "", **image: str) -> Callable[[Path], Made]:
    """Name, type and content of each member; disk.raw comes first."""

    def make(_: Path) -> Made:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, kind, data in (("disk.raw", tarfile.REGTYPE, RAW), *members):
                info = tarfile.TarInfo(name)
                info.type, info.size, info.linkname = kind, len(data), "/etc/passwd"
                tar.addfile(info, io.BytesIO(data))
        data = gzip.compress(out.getvalue()) if pack else out.getvalue()
        return data, {"archive": "tar", **({"compression": pack} if pack else {}), **image}

    return make


def sparse(folder: Path) -> Made:
    with (folder / "disk.raw").open("wb") as file:
        file.truncate(MIB)
        file.write(b"x")
    subprocess.run(["tar", "-S", "-C", folder, "-cf", folder / "sparse.tar", "disk.raw"], check=True)
    return (folder / "sparse.tar").read_bytes(), {"archive": "tar"}


def overlay_in_archive(folder: Path) -> Made:
    disk, _ = created("-b", "{folder}/base", "-F", "raw")(folder)
    data, image = archive(("disk.qcow2", tarfile.REGTYPE, disk), pack="gz", member="disk.qcow2")(folder)
    return data, image | {"format": "qcow2"}


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def u64(value: int) -> bytes:
    return struct.pack(">Q", value)


_FILE, _LINK, _HARD, _DEVICE = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE
HINT = b'parentFileNameHint="/etc/passwd"\n'
CASES: dict[str, tuple[Callable[[Path], Made], str]] = {
    "qcow2 with a backing file": (created("-b", "{folder}/base", "-F", "raw"), "backing file"),
    "qcow2 with /etc/passwd as backing file": (created("-b", "/etc/passwd", "-F", "raw"), "backing file"),
    "qcow2 with an external data file": (created("-o", "data_file={folder}/data"), "external data file"),
    "qcow2 encrypted with AES": (
        created("--object", "secret,id=s,data=x", "-o", "encrypt.format=aes,encrypt.key-secret=s"), "encryption"),
    "qcow2 encrypted with LUKS": (bent(32, u32(2)), "encryption method 2"),
    "qcow2 with a LUKS header": (bent(112, u32(0x0537BE77)), "encryption"),
    "qcow2 with an internal snapshot": (then("snapshot", "-c", "one", "{disk}"), "1 snapshots"),
    "qcow2 with a bitmap": (then("bitmap", "--add", "{disk}", "one"), "bitmaps"),
    "qcow2 with extended L2 entries": (created("-o", "extended_l2=on"), "extended L2"),
    "qcow2 with an unknown incompatible feature": (bent(72, u64(1 << 40)), "known features"),
    "qcow2 with an unknown compatible feature": (bent(80, u64(1 << 40)), "known features"),
    "qcow2 with an unknown autoclear feature": (bent(88, u64(1 << 40)), "autoclear"),
    "qcow2 with an unknown extension": (bent(112, u32(0x12345678)), "header extensions"),
    "qcow2 marked dirty": (bent(72, u64(1)), "dirty"),
    "qcow2 marked corrupt": (bent(72, u64(2)), "corrupt"),
    "qcow2 of an exbibyte": (created("-o", "cluster_size=2M", size=str(1 << 60)), "virtual size"),
    "qcow2 cut in half": (cut("qcow2", 0.5), "inside the file"),
    "qcow2 cut in its header": (cut("qcow2", 0.0006), "a whole disk"),
    "qcow2 with its L1 table outside": (bent(40, u64(1 << 40)), "L1 table inside"),
    "qcow2 with its refcount table outside": (bent(48, u64(1 << 40)), "refcount table inside"),
    "qcow2 with a refcount block outside": (bent("refcounts", u64(1 << 40)), "refcount block inside"),
    "qcow2 with an L2 table outside": (bent("l1", u64(1 << 63 | 1 << 40)), "L2 table inside"),
    "qcow2 with an L2 table on its header": (bent("l1", u64(1 << 63 | 65536)), "of its own"),
    "qcow2 with a cluster outside": (bent("l2", u64(1 << 63 | 1 << 40)), "every cluster inside"),
    "qcow2 with a cluster on its header": (bent("l2", u64(1 << 63 | 65536)), "on no table"),
    "qcow2 with a compressed cluster outside": (bent("l2", u64(1 << 62 | 1 << 40)), "every cluster inside"),
    "raw posing as qcow2": (posing("raw", "qcow2"), "a qcow2 disk"),
    "qcow2 posing as raw": (posing("qcow2", "raw"), "signature of qcow2"),
    "vmdk posing as raw": (posing("vmdk", "raw"), "signature of vmdk"),
    "raw posing as vmdk": (posing("raw", "vmdk"), "a vmdk disk"),
    "a page of HTML": (lambda _: (b"<!DOCTYPE html>".ljust(1024), {}), "signature of html"),
    "raw of half a sector": (lambda _: (RAW[:-256], {}), "whole sectors"),
    "vmdk with a parent": (child_vmdk, "no parent"),
    "vmdk with the hint of a parent": (bent(512, b"\n\n" + HINT, form="vmdk"), "no parent"),
    "vmdk whose descriptor names a file of the host": (flat_vmdk, "a capacity"),
    "vmdk of several files": (created("-o", "subformat=twoGbMaxExtentSparse", form="vmdk"), "a whole disk"),
    "vmdk cut in half": (cut("vmdk", 0.5), "inside the file"),
    "vmdk with a grain table outside": (bent("directory", u32(0xFFFFFF7F), form="vmdk"), "grain table inside"),
    "zst: a bomb": (bomb("zst"), "too much"),
    "gz: cut": (packed("gz", lambda data: data[:-9]), "it is cut"),
    "xz: cut": (packed("xz", lambda data: data[:-1]), "it is cut"),
    "bz2: cut": (packed("bz2", lambda data: data[:-1]), "it is cut"),
    "zst: cut": (packed("zst", lambda data: data[:-1]), "it is cut"),
    "gz: a wrong checksum": (packed("gz", lambda data: data[:-8] + bytes(4) + data[-4:]), "it is damaged"),
    "xz: bytes behind": (packed("xz", lambda data: data + b"more" * 16), "it is damaged"),
    "gz: a tail of 2 MiB": (packed("gz", lambda data: data + b"x" * 2 * MIB), "it has a tail"),
    "xz: a dictionary of 3 GiB": (greedy_xz, "Memory usage limit"),
    "zst: a window of 1 GiB": (greedy_zstd, "too much memory"),
    "gz posing as raw": (lambda _: (gzip.compress(RAW), {}), "signature of gzip"),
    "gz: a digest over the file that claims the content": (packed("gz", digest_of="content"), "publisher released"),
    "tar: a member that climbs": (archive(("../../evil.img", _FILE, b"x")), "below the archive's top"),
    "tar: an absolute member": (archive(("/etc/cron.d/evil", _FILE, b"x")), "below the archive's top"),
    "tar: a symbolic link": (archive(("link", _LINK, b"")), "a symbolic link"),
    "tar: a hard link": (archive(("link", _HARD, b"")), "a hard link"),
    "tar: a device": (archive(("device", _DEVICE, b"")), "a device"),
    "tar: the disk is a link": (archive(("link.raw", _LINK, b""), member="link.raw"), "a symbolic link"),
    "tar: the disk twice": (archive(("./disk.raw", _FILE, b"x" * 512)), "each name once"),
    "tar: two disks": (archive(("other.img", _FILE, b"x" * 512)), "one file that ends in"),
    "tar: no such member": (archive(member="other.img"), "cannot take a disk"),
    "tar: a sparse member": (sparse, "a sparse file"),
    "tar.gz: a qcow2 with a backing file": (overlay_in_archive, "backing file"),
}  # fmt: skip
if repeat() > 1:
    CASES |= {f"{kind}: a bomb": (bomb(kind), "too much") for kind in ("gz", "xz", "bz2")}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_disk_is_refused_unopened(fresh: World, tmp_path: Path, case: str) -> None:
    make, told = CASES[case]
    disk, image = make(tmp_path)
    publish(fresh, disk, **image)
    done = fresh.build("tiny")
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert told in done.stderr
    assert fresh.opened() == []
    assert fresh.unnamed()
    record("disk", case, exit=4, result="refused before any program opened it")


@pytest.mark.parametrize(("form", "pack"), [("raw", "none"), ("qcow2", "gz"), ("vmdk", "none"), ("vmdk", "tar.gz")])
def test_a_good_disk_is_built_and_its_opening_is_seen(fresh: World, tmp_path: Path, form: str, pack: str) -> None:
    """What makes the other tests worth something: the same stand-ins do see a disk that is let in."""
    disk = RAW if form == "raw" else good(tmp_path, form)
    image = {"format": form}
    if pack == "tar.gz":
        disk, more = archive(("let.in", _FILE, disk), pack="gz", member="let.in")(tmp_path)
        image |= more
    elif pack == "gz":
        disk, image = gzip.compress(disk), image | {"compression": "gz"}
    publish(fresh, disk, **image)
    done = fresh.build("tiny")
    assert done.returncode == 0, done.stderr
    assert any(line.startswith(f"qemu-img info --output json -f {form} ") for line in fresh.opened())
    assert not any(path.suffix == ".disk" for path in (fresh.kmi.cache / "partial").rglob("*"))


@pytest.mark.parametrize("form", ["qcow2", "vmdk"])
def test_random_bytes_in_the_header(fresh: World, tmp_path: Path, form: str) -> None:
    """Refused, or built, or given up by QEMU; never a disk that names another file."""
    whole = good(tmp_path, form)
    for seed, dice in seeds(f"header-{form}"):
        for folder in ("blobs/sha256", "partial", "locked", "stages"):
            shutil.rmtree(fresh.kmi.cache / folder, ignore_errors=True)
        disk = bytearray(whole)
        for _ in range(dice.randint(1, 4)):
            at = dice.choice([dice.randrange(128), dice.randrange(1200), dice.randrange(len(disk))])
            disk[at] = dice.randrange(256)
        publish(fresh, bytes(disk), format=form)
        done = fresh.build("tiny")
        assert done.returncode in (0, 1, 4), done.stderr
        if done.returncode == 4:
            assert fresh.opened() == [] and fresh.unnamed()
        else:
            (tmp_path / "let-in").write_bytes(disk)
            argv = ["qemu-img", "info", "--output", "json", "-f", form, tmp_path / "let-in"]
            told = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
            assert not [key for key in json.loads(told) if "backing" in key]
        result = {0: "built: the change did no harm", 1: "given up by QEMU", 4: "refused before any program opened it"}
        record("disk", f"random bytes in a {form}", seed=seed, exit=done.returncode, result=result[done.returncode])
