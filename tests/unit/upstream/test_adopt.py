"""A disk that the user brings: what is taken, what is refused, and what is said about it."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kmi.catalogue import load, select
from kmi.errors import UsageError, VerificationError
from kmi.host import ui
from kmi.host.store import Store
from kmi.model.spec import ImageSpec, OwnDisk
from kmi.model.stages import VerifiedImage
from kmi.upstream import adopt as adopting

ROOT = Path(__file__).parents[3]
DISK = hashlib.shake_256(b"disk").digest(1 << 16) + bytes(1 << 20)
CHANGED = datetime(2026, 5, 20, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def spec() -> ImageSpec:
    (found,) = select(load(ROOT / "distros"), ["rhel"], "amd64")
    return replace(found, own_disk=OwnDisk(format="raw", where="the customer portal"))


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "mine.raw"
    path.write_bytes(DISK)
    os.utime(path, (CHANGED.timestamp(), CHANGED.timestamp() + 0.7))
    return path


def step() -> ui.Step:
    return ui.Step(ui.Reporter(io.StringIO()), "rhel-10-amd64", "adopt")


def adopt(spec: ImageSpec, disk: Path, tmp_path: Path) -> VerifiedImage:
    return adopting.adopt(spec, disk, Store(tmp_path / "cache"), step())


def named(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache" / "blobs").rglob("*") if path.is_file()]


def test_it_is_copied_under_its_digest_and_nobody_elses_word_is_given(
    spec: ImageSpec, disk: Path, tmp_path: Path
) -> None:
    image = adopt(spec, disk, tmp_path)
    assert image.path.read_bytes() == DISK == disk.read_bytes()
    assert image.digest.hex == hashlib.sha256(DISK).hexdigest() == image.path.name
    assert not image.path.samefile(disk) and image.path.stat().st_mode & 0o777 == 0o444
    origin = image.origin
    assert (str(origin.evidence), origin.checksum, origin.method, origin.url) == ("user", image.digest, "byo", "")
    assert (origin.released_at, origin.build, image.format) == (CHANGED, "20260520", "raw")


def test_a_second_time_nothing_is_copied(spec: ImageSpec, disk: Path, tmp_path: Path) -> None:
    first = adopt(spec, disk, tmp_path)
    before, again = first.path.stat().st_ino, step()
    second = adopting.adopt(spec, disk, Store(tmp_path / "cache"), again)
    assert again.reused and second.path.stat().st_ino == before
    assert replace(second.origin, pulled_at=first.origin.pulled_at) == first.origin


def test_a_damaged_copy_is_made_again(spec: ImageSpec, disk: Path, tmp_path: Path) -> None:
    image = adopt(spec, disk, tmp_path)
    image.path.chmod(0o644)
    image.path.write_bytes(b"!" + DISK[1:])
    assert adopt(spec, disk, tmp_path).path.read_bytes() == DISK


def test_another_format_is_refused_and_gets_no_name(spec: ImageSpec, disk: Path, tmp_path: Path) -> None:
    for form, data in (("qcow2", DISK), ("raw", b"QFI\xfb" + DISK[4:]), ("raw", DISK[:-1]), ("raw", b"")):
        disk.write_bytes(data)
        with pytest.raises(VerificationError):
            adopt(replace(spec, own_disk=OwnDisk(format=form, where="x")), disk, tmp_path)
    assert named(tmp_path) == []


def test_a_disk_in_the_cache_is_looked_at_again_for_another_format(spec: ImageSpec, disk: Path, tmp_path: Path) -> None:
    adopt(spec, disk, tmp_path)
    with pytest.raises(VerificationError):
        adopt(replace(spec, own_disk=OwnDisk(format="qcow2", where="x")), disk, tmp_path)


def test_what_is_no_file_is_refused_at_once(spec: ImageSpec, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(UsageError) as caught:
            adopt(spec, path, tmp_path)
        assert caught.value.where == path
        assert "the customer portal" in str(caught.value.hint)


@pytest.mark.parametrize("moment", [0, 4102444800])
def test_a_date_that_no_release_can_have_is_refused(spec: ImageSpec, disk: Path, tmp_path: Path, moment: int) -> None:
    os.utime(disk, (moment, moment))
    with pytest.raises(UsageError, match="impossible date") as caught:
        adopt(spec, disk, tmp_path)
    assert "touch -d" in str(caught.value.hint)
    assert named(tmp_path) == []


def test_a_disk_that_changes_meanwhile_is_refused(
    spec: ImageSpec, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = adopting.sparse.write

    def late(*words: object, **options: object) -> object:
        with disk.open("r+b") as file:
            file.write(b"!")
        return write(*words, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(adopting.sparse, "write", late)
    with pytest.raises(VerificationError, match="changes while it is read"):
        adopt(spec, disk, tmp_path)
    assert named(tmp_path) == []


def test_a_manifest_that_takes_none_says_so(spec: ImageSpec, disk: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no disk of your own"):
        adopt(replace(spec, own_disk=None), disk, tmp_path)
