from __future__ import annotations

import threading
from pathlib import Path

import pytest

from kmi.errors import VerificationError
from kmi.host.store import Store, canonical, hash_file, stage_key, write_json, write_text


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
    assert [f for owner in (tmp_path / "tmp").iterdir() for f in owner.iterdir()] == []
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
    dead = tmp_path / "tmp" / "999999999-1"
    dead.mkdir()
    (dead / "half").write_text("x")
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
