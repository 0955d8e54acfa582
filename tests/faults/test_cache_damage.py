"""Every file of the cache with one bit flipped, or gone, short, empty, a link: never a bad image, and never a dead end.

The rerun has to read the damaged file: what was made from it is removed first. A rerun either gives the same digest,
with an output folder whose every blob matches its name, or refuses with exit status 4; and then the next one works.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.fault_record import record, repeat, seeds
from tests.sound import facts, sound
from tests.tiny import Kmi

ORDER = ("blobs", "locked", "stages/finish", "stages/base", "stages/wrap", "stages/index")
"""What is made from what, the first from nothing in the cache; finish and base are made from none of the other."""
MADE_FROM = {
    "blobs": ("finish", "wrap", "index"),
    "locked": ("finish", "wrap", "index"),
    "stages/finish": ("wrap", "index"),
    "stages/base": ("wrap", "index"),
    "stages/wrap": ("index",),
    "stages/index": (),
}


@pytest.fixture(scope="module")
def kmi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kmi]:
    root = tmp_path_factory.mktemp("damage")
    made = tiny.make(root / "tiny")
    with tiny.served(made.www) as mirrors:
        (root / "run").mkdir()
        yield Kmi(folder=root / "run", tiny=made, base=tiny.local_base(root), mirrors=mirrors)


@pytest.fixture(scope="module")
def digest(kmi: Kmi) -> str:
    """Of a build in a fresh cache, which is kept beside as it is."""
    result = kmi("build", "tiny")
    assert result.returncode == 0, result.stderr
    copy(kmi.cache, kmi.folder / "whole")
    copy(layout(kmi), kmi.folder / "as-it-was")
    return result.stdout.strip()


def copy(source: Path, target: Path) -> None:
    """With hard links, as the cache has them."""
    if target.exists():
        shutil.rmtree(target)
    subprocess.run(["cp", "-a", source, target], check=True)


def files(cache: Path) -> list[str]:
    """All that holds something. (Locks are empty; the tag is a word to backup programs.)"""
    found = (path for path in cache.rglob("*") if path.is_file() and path.stat().st_size)
    return sorted(str(path.relative_to(cache)) for path in found if path.name != "CACHEDIR.TAG")


def flip(path: Path, dice: random.Random) -> None:
    """In place, so that every link to the same bytes is hit, as by a disk that decays."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(dice.randrange(path.stat().st_size))
        byte = file.read(1)[0] ^ (1 << dice.randrange(8))
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte]))


def vanish(path: Path, dice: random.Random) -> None:
    path.unlink()


def shorten(path: Path, dice: random.Random) -> None:
    path.chmod(0o644)
    os.truncate(path, dice.randrange(path.stat().st_size))


def link(path: Path, dice: random.Random) -> None:
    """The right bytes, but somebody else's file."""
    elsewhere = path.parents[len(path.parents) - 4] / f"elsewhere-{dice.random()}"
    path.replace(elsewhere)
    path.symlink_to(elsewhere)


def foreign(path: Path, dice: random.Random) -> None:
    (path.parent / f"foreign-{dice.randrange(100)}").write_bytes(dice.randbytes(100))


KINDS: tuple[Callable[[Path, random.Random], None], ...] = (vanish, shorten, link, foreign)


def layout(kmi: Kmi) -> Path:
    return kmi.folder / "build" / "tiny-1-amd64" / "oci"


def rerun(kmi: Kmi, digest: str, case: str, *, pulled: bool = False) -> str:
    """What a second, and after a refusal a third run gives. With ``pulled`` the day of the download may be lost, and
    with it the digest: the rest is the same."""
    result, told = kmi("build", "tiny"), ""
    if result.returncode:
        assert result.returncode == 4, f"{case}\n{result.stderr}"
        told = "refused with exit 4, then "
        result = kmi("build", "tiny")
    assert result.returncode == 0, f"{case}\n{result.stderr}"
    got = result.stdout.strip()
    sound(layout(kmi), got)
    if pulled and got != digest:
        assert facts(layout(kmi)) == facts(kmi.folder / "as-it-was"), case
        return f"{told}the same image but for the day of its download"
    assert got == digest, f"{case}\n{result.stderr}"
    return f"{told}the same digest"


def hurt(kmi: Kmi, name: str, how: Callable[[Path, random.Random], None], dice: random.Random, *, read: bool) -> None:
    """Put the whole cache back, damage one file of it, and, with ``read``, remove what was made from it."""
    copy(kmi.folder / "whole", kmi.cache)
    shutil.rmtree(kmi.folder / "build", ignore_errors=True)
    if not read:
        assert kmi("build", "tiny").returncode == 0
    how(kmi.cache / name, dice)
    kind = next((kind for kind in ORDER if name.startswith(kind)), None)
    for stage in MADE_FROM[kind] if read and kind else ():
        for folder in (kmi.cache / "stages").glob(f"{stage}-*"):
            shutil.rmtree(folder)


def test_a_flipped_bit_in_any_file(kmi: Kmi, digest: str) -> None:
    names = files(kmi.folder / "whole")
    assert {name.split("/")[0] for name in names} == {"blobs", "locked", "stages"}
    for seed, dice in seeds("flip"):
        for name in names:
            read = dice.random() < 0.7
            hurt(kmi, name, flip, dice, read=read)
            result = rerun(kmi, digest, f"{name} {seed}", pulled=name.startswith("locked"))
            record("damage", f"a bit of {kind_of(name)} flipped", result=result, seed=seed)


def test_a_cache_that_was_copied_half(kmi: Kmi, digest: str) -> None:
    """Each kind of damage to a file of each kind; then several files at once."""
    names = files(kmi.folder / "whole")
    for seed, dice in seeds("half"):
        for how in KINDS:
            for kind in ORDER:
                name = dice.choice([name for name in names if name.startswith(kind)])
                hurt(kmi, name, how, dice, read=dice.random() < 0.7)
                result = rerun(kmi, digest, f"{how} {name} {seed}", pulled=kind == "locked")
                record("damage", f"{how.__name__}: {kind}", result=result, seed=seed)
        hurt(kmi, names[0], vanish, dice, read=False)
        for name in dice.sample(files(kmi.cache), len(names) // 2):
            if (kmi.cache / name).stat().st_size:  # not one that a link to it has emptied already
                dice.choice([flip, vanish, shorten])(kmi.cache / name, dice)
        result = rerun(kmi, digest, f"half of all {seed}", pulled=True)
        record("damage", "half of all files", result=result, seed=seed)


def test_verify_finds_every_flipped_bit_and_drops_what_it_hit(kmi: Kmi, digest: str) -> None:
    names = files(kmi.folder / "whole")
    for seed, dice in seeds("verify"):
        for name in dice.sample(names, min(len(names), 6 * repeat())):
            copy(kmi.folder / "whole", kmi.cache)
            before = kmi("cache", "verify")
            assert (before.returncode, before.stdout) == (0, ""), before.stdout
            flip(kmi.cache / name, dice)
            found = kmi("cache", "verify")
            if name.endswith(".json") and found.returncode == 0:  # a space became another space
                assert json.loads((kmi.cache / name).read_bytes()) == whole(kmi, name), f"{name} {seed}"
                continue
            assert found.returncode == 4, f"{name} {seed}"
            assert found.stdout.strip()
            after = kmi("cache", "verify")
            assert (after.returncode, after.stdout) == (0, "")
            record("damage", "kmi cache verify", result="found and dropped", seed=seed)


def whole(kmi: Kmi, name: str) -> object:
    """The value of a JSON file before it was damaged."""
    return json.loads((kmi.folder / "whole" / name).read_bytes())


def kind_of(name: str) -> str:
    parts = name.split("/")
    return f"{parts[1].partition('-')[0]}'s {'blob' if 'blobs' in parts else parts[-1]}" if parts[0] == "stages" else (
        "a blob" if parts[0] == "blobs" else "a pointer")  # fmt: skip
