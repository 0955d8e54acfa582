"""Disks that are served compressed, in an archive, or as VMDK: what is named, what is kept, what is refused."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from backports import zstd

from kmi.disk.finish import DISK, finish
from kmi.errors import VerificationError
from kmi.host.http import Http
from kmi.host.run import run
from kmi.host.store import Store
from kmi.host.ui import Reporter, Step
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import ImageId, Packing
from kmi.model.stages import CustomDisk, Evidence, Inventory, Locked
from kmi.upstream.fetch import cached, fetch
from tests.serving import Upstream, serving

RAW = hashlib.shake_256(b"raw").digest(1 << 20)


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("disks")
    (folder / "disk.raw").write_bytes(RAW)
    for form in ("qcow2", "vmdk"):
        run(["qemu-img", "convert", "-f", "raw", "-O", form, folder / "disk.raw", folder / f"disk.{form}"])
    return {form: (folder / f"disk.{form}").read_bytes() for form in ("raw", "qcow2", "vmdk")}


def tar(**members: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("_", "."))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Site:
    """A publisher's server and a cache."""

    def __init__(self, upstream: Upstream, folder: Path) -> None:
        self.upstream = upstream
        self.store = Store(folder / "cache")
        self.http = Http()
        self.step = Step(Reporter(io.StringIO()), "tiny-1-amd64", "fetch")

    def locked(self, body: bytes, *, form: str, over: bytes | None = None, **packing: str) -> Locked:
        """``over`` is what the digest is of; default the file."""
        return Locked(
            id=ImageId(distro="tiny", release="1", arch=Arch.AMD64),
            url=self.upstream.put("/disk", body),
            digest=Digest(algorithm="sha512", hex=hashlib.sha512(body if over is None else over).hexdigest()),
            size=len(body),
            build="1",
            released_at=datetime(2026, 1, 1, tzinfo=UTC),
            evidence=Evidence(kind="tls-only"),
            checksums=self.upstream.url + "/SUMS",
            format=form,
            packing=Packing(**packing),
        )

    def fetch(self, locked: Locked) -> bytes:
        image = fetch(locked, store=self.store, http=self.http, step=self.step)
        data = image.path.read_bytes()
        assert image.digest.hex == image.path.name == hashlib.sha256(data).hexdigest()
        assert image.origin.checksum == locked.digest and image.format == locked.format
        assert cached(locked, self.store) == image
        assert self.left() == [], "the packed file is not kept"
        return data

    def refused(self, locked: Locked) -> str:
        before = self.named()
        with pytest.raises(VerificationError) as caught:
            fetch(locked, store=self.store, http=self.http, step=self.step)
        assert self.left() == [] and self.named() == before and cached(locked, self.store) is None
        return str(caught.value)

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.store.root / "partial").glob("*"))

    def named(self) -> list[str]:
        return sorted(path.name for path in (self.store.root / "blobs").rglob("*") if path.is_file())


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serving() as upstream:
        made = Site(upstream, tmp_path)
        yield made
        made.http.close()


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", "zst"])
@pytest.mark.parametrize("form", ["raw", "qcow2", "vmdk"])
def test_a_compressed_disk(site: Site, disks: dict[str, bytes], kind: str, form: str) -> None:
    pack = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zstd.compress}[kind]
    assert site.fetch(site.locked(pack(disks[form]), form=form, compression=kind)) == disks[form]


def test_a_compressed_archive(site: Site, disks: dict[str, bytes]) -> None:
    body = lzma.compress(tar(README=b"x", disk_raw=RAW))
    assert site.fetch(site.locked(body, form="raw", compression="xz", archive="tar", member="disk.raw")) == RAW


def test_a_digest_over_the_content(site: Site, disks: dict[str, bytes]) -> None:
    body, disk = gzip.compress(disks["qcow2"]), disks["qcow2"]
    good = site.locked(body, form="qcow2", over=disk, compression="gz", digest_of="content")
    assert site.fetch(good) == disk
    site.store.blob(Digest(algorithm="sha256", hex=hashlib.sha256(disk).hexdigest())).unlink()
    for wrong in (b"other", body):
        told = site.locked(body, form="qcow2", over=wrong, compression="gz", digest_of="content")
        assert "publisher released" in site.refused(told)


def test_both_digests_have_to_match(site: Site, disks: dict[str, bytes]) -> None:
    body, disk = gzip.compress(disks["qcow2"]), disks["qcow2"]
    locked = site.locked(body, form="qcow2", compression="gz")
    true, false = (Digest(algorithm="sha256", hex=hashlib.sha256(data).hexdigest()) for data in (disk, body))
    assert "publisher released" in site.refused(replace(locked, content=false))
    assert site.fetch(replace(locked, content=true)) == disk


def test_the_header_of_the_unpacked_disk_is_checked(site: Site, disks: dict[str, bytes], tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    (tmp_path / "base").write_bytes(RAW)
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", tmp_path / "base", "-F", "raw", overlay])
    body = gzip.compress(overlay.read_bytes())
    assert "no backing file" in site.refused(site.locked(body, form="qcow2", compression="gz"))


def test_a_packed_disk_that_the_manifest_does_not_expect(site: Site, disks: dict[str, bytes]) -> None:
    assert "signature of gzip" in site.refused(site.locked(gzip.compress(RAW), form="raw"))
    assert "it is damaged" in site.refused(site.locked(disks["qcow2"], form="qcow2", compression="gz"))


def test_another_member_of_the_same_archive_is_another_disk(site: Site) -> None:
    other = RAW[::-1]
    body = tar(one_img=RAW, two_img=other)
    assert site.fetch(site.locked(body, form="raw", archive="tar", member="one.img")) == RAW
    two = site.locked(body, form="raw", archive="tar", member="two.img")
    assert cached(two, site.store) is None
    assert site.fetch(two) == other


def test_a_second_fetch_asks_nobody(site: Site, disks: dict[str, bytes]) -> None:
    locked = site.locked(gzip.compress(RAW), form="raw", compression="gz")
    site.fetch(locked)
    site.upstream.requests.clear()
    assert site.fetch(locked) == RAW
    assert site.upstream.requests == []


def test_a_kill_while_it_was_unpacked_costs_no_download(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = site.locked(gzip.compress(RAW), form="raw", compression="gz")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(site.store, "adopt", killed)
        with pytest.raises(KeyboardInterrupt):
            fetch(locked, store=site.store, http=site.http, step=site.step)
    assert len(site.left()) == 3 and site.named() == []
    sent = sum(request.sent for request in site.upstream.gets("/disk"))
    assert site.fetch(locked) == RAW
    assert sum(request.sent for request in site.upstream.gets("/disk")) == sent


@pytest.mark.parametrize("form", ["raw", "qcow2", "vmdk"])
def test_every_format_is_finished_to_the_same_disk(disks: dict[str, bytes], tmp_path: Path, form: str) -> None:
    source = tmp_path / f"source.{form}"
    source.write_bytes(disks[form])
    nothing = Inventory(os_release=(), kernels=(), packages=(), archives=())
    custom = CustomDisk(id=ImageId(distro="tiny", release="1", arch=Arch.AMD64), path=source, format=form,
                        origin=None, inventory=nothing, customizer="none")  # type: ignore[arg-type]  # fmt: skip
    step = Step(Reporter(io.StringIO()), "tiny-1-amd64", "finish")
    (tmp_path / "out").mkdir()
    finish(custom, virtual_size=2 << 20, out=tmp_path / "out", log=tmp_path / "log", step=step)
    report = json.loads(run(["qemu-img", "info", "--output", "json", tmp_path / "out" / DISK]).stdout)
    assert (report["virtual-size"], "backing-filename" in report) == (2 << 20, False)
    run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", tmp_path / "out" / DISK, tmp_path / "flat"])
    assert (tmp_path / "flat").read_bytes() == RAW + bytes(1 << 20)
    assert source.read_bytes() == disks[form]
