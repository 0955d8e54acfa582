from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from kmi.errors import HostError, InternalError, VerificationError
from kmi.host import stagefiles
from kmi.host.stagefiles import SMALL
from kmi.host.store import Damaged, Store, canonical, hash_file, stage_key, write_json, write_text


def make(path: Path, text: str = "x") -> dict[str, str]:
    (path / "out").write_text(text)
    return {"text": text}


def test_a_stage_runs_once(tmp_path: Path) -> None:
    store, calls = Store(tmp_path), []
    for _ in range(2):
        stage = store.stage("s", {"a": 1}, lambda out: calls.append(1) or make(out))  # type: ignore[func-returns-value]
    assert calls == [1]
    assert stage.reused
    assert stage.outputs == {"text": "x"}
    assert (stage.path / "out").read_text() == "x"


def test_other_inputs_are_another_stage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = store.stage("s", {"a": 1}, make)
    two = store.stage("s", {"a": 2}, make)
    assert one.path != two.path
    assert not two.reused
    assert stage_key("s", {"a": 1, "b": 2}) == stage_key("s", {"b": 2, "a": 1})
    assert stage_key("s", {"a": 1}) != stage_key("t", {"a": 1})


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(out: Path) -> dict[str, str]:
        make(out)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        store.stage("s", {}, fail)
    assert list((tmp_path / "stages").iterdir()) == []
    assert {f.name for owner in (tmp_path / "tmp").iterdir() for f in owner.iterdir()} == {"owner.lock", "uses"}
    assert not store.stage("s", {}, make).reused


def test_several_at_once_build_once(tmp_path: Path) -> None:
    calls: list[int] = []

    def work() -> None:
        Store(tmp_path).stage("s", {}, lambda out: calls.append(1) or make(out))  # type: ignore[func-returns-value]

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]


def test_what_dead_owners_left_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    dead = tmp_path / "tmp" / "run-dead0000"
    dead.mkdir()
    for name in ("half", "owner.lock"):
        (dead / name).write_text("x")
    with store.scratch() as mine:
        Store(tmp_path)
        assert mine.exists(), "a living owner's folder was removed"
    assert not dead.exists()
    assert not mine.exists()


def test_a_flipped_bit_is_found_before_use(tmp_path: Path) -> None:
    store = Store(tmp_path)
    file = tmp_path / "file"
    file.write_bytes(b"genuine")
    digest = hash_file(file)
    path = store.adopt(file, digest)
    assert store.require(digest) == path
    path.chmod(0o644)
    path.write_bytes(b"genuinf")
    with pytest.raises(VerificationError, match="damaged"):
        store.require(digest)
    assert not path.exists()


def test_files_are_whole_or_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "a" / "r.json"
    write_json(path, {"b": 1, "a": "ü"})
    before = path.read_text()
    with pytest.raises(TypeError):
        write_json(path, {"b": object()})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "\ud800")
    assert path.read_text() == before
    assert [p.name for p in path.parent.iterdir()] == ["r.json"]
    assert canonical({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'.encode()


@pytest.mark.parametrize("broken", ["", "{", None])
def test_a_stage_that_a_power_cut_broke_is_made_again(tmp_path: Path, broken: str | None) -> None:
    store = Store(tmp_path)
    receipt = store.stage("s", {}, make).path / "receipt.json"
    receipt.unlink() if broken is None else receipt.write_text(broken)
    assert not store.stage("s", {}, make).reused
    assert store.stage("s", {}, make).reused


def test_a_damaged_file_goes_with_its_stage_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    bad, good = store.stage("s", {"a": 1}, make), store.stage("s", {"a": 2}, make)
    store.drop(bad.path / "out")
    assert not bad.path.exists()
    assert good.path.exists()
    blob = store.blob(hash_file(good.path / "out"))
    other = blob.with_name("f" * 64)
    for file in (blob, other):
        file.write_text("x")
    store.drop(blob)
    assert not blob.exists()
    assert other.exists()


def big(path: Path) -> dict[str, str]:
    """More than what is hashed whenever a stage is found."""
    (path / "disk").write_bytes(b"x" * (SMALL + 1))
    return make(path)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", ["flip", "shorten", "remove", "foreign", "link", "folder"])
def test_a_small_file_is_looked_at_whenever_its_stage_is_found(tmp_path: Path, harm: str) -> None:
    told: list[str] = []
    store = Store(tmp_path, warn=told.append)
    out = store.stage("s", {}, make).path / "out"
    if harm == "flip":
        flip(out)
    elif harm == "shorten":
        out.write_text("")
    elif harm == "foreign":
        (out.parent / "other").touch()
    else:
        out.rename(tmp_path / "moved")
        if harm == "link":
            out.symlink_to(tmp_path / "moved")
        if harm == "folder":
            out.mkdir()
    assert not store.stage("s", {}, make).reused
    assert out.read_text() == "x"
    assert "is damaged and is made again: o" in told[0]
    assert store.stage("s", {}, make).reused


def test_a_large_file_is_hashed_before_it_is_read(tmp_path: Path) -> None:
    """By another process than the one that made it."""
    disk = Store(tmp_path).stage("s", {}, big).path / "disk"
    store = Store(tmp_path)
    assert store.stage("s", {}, big).reused
    store.prove(disk)
    flip(disk)
    assert store.stage("s", {}, big).reused, "finding a stage does not read its large files"
    with pytest.raises(Damaged, match="damaged") as caught:
        store.prove(disk)
    assert caught.value.exit_code == 4
    assert "disk is blocks:" in str(caught.value.got)
    assert not store.stage("s", {}, big).reused
    store.prove(disk)


def test_what_was_hashed_is_not_hashed_again_unless_it_was_touched(tmp_path: Path, monkeypatch) -> None:
    disk = Store(tmp_path).stage("s", {}, big).path / "disk"
    hashed: list[Path] = []
    real = stagefiles.fingerprint
    monkeypatch.setattr(stagefiles, "fingerprint", lambda path: hashed.append(path) or real(path))
    store = Store(tmp_path)
    store.prove(disk, quick=True)
    assert disk in hashed
    store.proved(disk)
    hashed.clear()
    store.prove(disk, quick=True)
    assert hashed == []
    before = disk.stat()
    flip(disk)
    os.utime(disk, ns=(before.st_atime_ns, before.st_mtime_ns))  # nobody can set the time of change
    with pytest.raises(Damaged):
        store.prove(disk, quick=True)


def test_a_proof_of_other_times_is_none(tmp_path: Path) -> None:
    """Whatever the clock does: what counts is that the times are the same, not which is later."""
    disk = Store(tmp_path).stage("s", {}, big).path / "disk"
    store = Store(tmp_path)
    store.proved(disk)
    flip(disk)
    os.utime(disk, (0, 0))
    with pytest.raises(Damaged):
        store.prove(disk, quick=True)


def test_a_blob_named_by_its_digest_is_held_to_its_name(tmp_path: Path) -> None:
    def layout(path: Path) -> dict[str, str]:
        blobs = path / "oci" / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        (blobs / "f").write_bytes(b"x" * (SMALL + 1))
        (blobs / "f").rename(blobs / hash_file(blobs / "f").hex)
        return {}

    stage = Store(tmp_path).stage("s", {}, layout)
    (told,) = stage.receipt["files"].values()
    (blob,) = (stage.path / "oci" / "blobs" / "sha256").iterdir()
    assert told["digest"] == f"sha256:{blob.name}"
    flip(blob)
    with pytest.raises(Damaged):
        Store(tmp_path).prove(blob)


def test_a_receipt_of_another_key_is_not_taken(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, two = store.stage("s", {"a": 1}, make), store.stage("s", {"a": 2}, make)
    shutil.rmtree(two.path)
    shutil.copytree(one.path, two.path)
    assert not store.stage("s", {"a": 2}, make).reused


def test_a_stage_holds_files_and_folders_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(InternalError):
        store.stage("s", {}, lambda out: (out / "link").symlink_to("/etc/passwd") or {})  # type: ignore[func-returns-value]
    assert not store.stage_path("s", stage_key("s", {})).exists()


@pytest.mark.parametrize("name", ["blobs", "stages", "tmp", "locks", "locked"])
@pytest.mark.parametrize("kind", ["link", "file"])
def test_a_folder_that_is_something_else_is_no_cache(tmp_path: Path, name: str, kind: str) -> None:
    """A link would have kmi tidy up in somebody else's folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / name).symlink_to(elsewhere) if kind == "link" else (cache / name).touch()
    with pytest.raises(HostError, match="no cache"):
        Store(cache)
    assert list(elsewhere.iterdir()) == []


def test_what_was_on_its_way_out_goes_at_the_next_start(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "stages" / ".gone-1234-s-x" / "deep").mkdir(parents=True)
    (tmp_path / "blobs" / "sha256" / ".gone-1234-x").touch()
    Store(tmp_path)
    assert list((tmp_path / "stages").iterdir()) == list((tmp_path / "blobs" / "sha256").iterdir()) == []
    assert store.stage("s", {}, make).outputs == {"text": "x"}


def test_an_image_layout_is_no_cache(tmp_path: Path) -> None:
    """Its blobs have the names of the cache's: ``kmi cache prune --cache build/x/oci`` would take them."""
    (tmp_path / "oci-layout").touch()
    with pytest.raises(HostError, match="no cache of kmi"):
        Store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["oci-layout"]
