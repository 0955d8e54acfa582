"""What may go from the cache, in which order, and what never."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from kmi.host import cache
from kmi.host.files import seal, write_json
from kmi.host.locks import attempt
from kmi.host.store import Store, hash_file

ROOT = Path(__file__).parents[3]
KIB = 1024
MAKE = """
import sys
from pathlib import Path
from kmi.host.store import Store
for number in map(int, sys.argv[2:]):
    def make(out):
        (out / "disk").write_bytes(bytes([number]) * 102400)
        return {}
    Store(Path(sys.argv[1])).stage("finish", {"n": number}, make)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def working(root: Path, *numbers: int) -> Iterator[None]:
    """Another process that has made or found these stages, of 100 KiB each, and goes on using them."""
    argv = [sys.executable, "-c", MAKE, str(root), *map(str, numbers)]
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    try:
        yield
    finally:
        process.communicate("")
    assert process.returncode == 0


def made(root: Path, *numbers: int) -> None:
    with working(root, *numbers):
        pass


def used(root: Path, number: int, days: float) -> Path:
    """Say when a stage was used last."""
    store = Store(root)
    (path,) = (p for p in (root / "stages").iterdir() if (p / "disk").read_bytes()[:1] == bytes([number]))
    moment = (store.root / "CACHEDIR.TAG").stat().st_mtime - days * 86400
    os.utime(path / "receipt.json", (moment, moment))
    return path


def prune(root: Path, size: int | None = None, days: float | None = None, *, dry: bool = False) -> list[str]:
    age = None if days is None else timedelta(days=days)
    gone, _ = cache.prune(Store(root), max_size=size, older_than=age, dry_run=dry)
    return [entry.name for entry in gone]


def test_the_least_recently_used_go_first_and_no_more_than_needed(tmp_path: Path) -> None:
    made(tmp_path, 1, 2, 3)
    paths = [used(tmp_path, 1, 2), used(tmp_path, 2, 9), used(tmp_path, 3, 5)]
    assert [entry.path for entry in cache.entries(tmp_path)] == [paths[1], paths[2], paths[0]]
    assert prune(tmp_path, 250 * KIB, dry=True) == [paths[1].name]
    assert all(path.exists() for path in paths)
    assert prune(tmp_path, 250 * KIB) == [paths[1].name]
    assert [path.exists() for path in paths] == [True, False, True]
    assert prune(tmp_path, 250 * KIB) == []
    assert prune(tmp_path, days=3) == [paths[2].name]
    assert prune(tmp_path, 0) == [paths[0].name]
    assert {lock.name for lock in (tmp_path / "locks").iterdir()} == {"prune", "sweep"}


def test_what_a_living_process_uses_stays(tmp_path: Path) -> None:
    made(tmp_path, 1, 2)
    with working(tmp_path, 2):
        first, second = used(tmp_path, 1, 1), used(tmp_path, 2, 99)
        states = {entry.path: entry.in_use for entry in cache.entries(tmp_path) if entry.kind == "stage"}
        assert states == {first: False, second: True}
        assert prune(tmp_path, 0, 0) == [first.name]
    assert prune(tmp_path, 0) == [second.name]


def test_a_blob_that_was_asked_for_stays_and_takes_its_pointer_along(tmp_path: Path) -> None:
    store = Store(tmp_path)
    file = tmp_path / "tmp" / "file"
    file.write_text("x")
    digest = hash_file(file)
    store.adopt(file, digest)
    pointers = [tmp_path / "locked" / f"sha256-{number}.json" for number in range(2)]
    write_json(pointers[0], seal({"sha256": digest.hex}))
    write_json(pointers[1], seal({"sha256": "0" * 64}))
    assert prune(tmp_path, 0) == [], "this process may still read it"
    script = "import sys; from pathlib import Path; from datetime import timedelta; from kmi.host import cache; "
    script += "from kmi.host.store import Store; "
    script += "cache.prune(Store(Path(sys.argv[1])), max_size=0, older_than=None, dry_run=False)"
    other = tmp_path.parent / f"{tmp_path.name}-copy"
    subprocess.run(["cp", "-a", tmp_path, other], check=True)
    for owner in (other / "tmp").iterdir():
        (owner / "uses").unlink()
    subprocess.run([sys.executable, "-c", script, str(other)], check=True, cwd=ROOT)
    assert not (other / "blobs" / "sha256" / digest.hex).exists()
    assert [path.name for path in (other / "locked").iterdir()] == [pointers[1].name]


def test_files_that_stages_share_count_once(tmp_path: Path) -> None:
    made(tmp_path, 1)
    first = used(tmp_path, 1, 9)

    def linked(out: Path) -> dict[str, str]:
        (out / "again").hardlink_to(first / "disk")
        return {}

    Store(tmp_path).stage("index", {}, linked)
    found = {entry.kind: entry for entry in cache.entries(tmp_path)}
    both = [entry for entry in cache.entries(tmp_path) if entry.kind == "stage"]
    assert 100 * KIB <= cache.total(both) < 150 * KIB
    assert all(entry.size >= 100 * KIB for entry in both)
    assert found["stage"]


def test_what_cannot_be_made_again_is_never_pruned(tmp_path: Path) -> None:
    Store(tmp_path)
    for name in ("registry/data", "stages/notes", "blobs/sha256/README", "appliance/.guestfs-0", "partial"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    half = tmp_path / "partial" / f".unverified-sha256-{'a' * 64}"
    half.write_text("x")
    half.with_name(f"{half.name}.validator").write_text("{}")
    kinds = sorted(entry.kind for entry in cache.entries(tmp_path))
    assert kinds == ["appliance", "foreign", "foreign", "partial", "registry"]
    with attempt(tmp_path / "locks" / f"fetch-sha256-{'a' * 33}"):  # type: ignore[union-attr]
        assert prune(tmp_path, 0) == ["appliance"], "somebody fetches the file"
    assert prune(tmp_path, 0) == [half.name]
    assert list((tmp_path / "partial").iterdir()) == []
    assert (tmp_path / "registry" / "data").exists()
    assert (tmp_path / "stages" / "notes").exists()


def test_a_clock_that_was_wrong_ages_nothing(tmp_path: Path) -> None:
    made(tmp_path, 1)
    used(tmp_path, 1, -9999)  # used in the far future
    assert prune(tmp_path, days=1) == []


@pytest.mark.parametrize("name", ["receipt.json", "disk"])
def test_verify_names_and_drops_what_is_damaged_and_nothing_else(tmp_path: Path, name: str) -> None:
    made(tmp_path, 1, 2)
    bad, good = used(tmp_path, 1, 1), used(tmp_path, 2, 1)
    assert cache.verify(Store(tmp_path)) == ()
    with (bad / name).open("r+b") as file:
        file.seek(60)
        file.write(b"!")
    (damage,) = cache.verify(Store(tmp_path))
    assert bad.name in damage.name
    assert damage.dropped
    assert not bad.exists()
    assert good.exists()
    assert cache.verify(Store(tmp_path)) == ()
