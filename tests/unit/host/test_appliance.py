"""The kept appliance is what was built, or is built again. What builds it here stands in for libguestfs: it takes what
is there, and makes what is not, as libguestfs does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmi.host import appliance, cache
from kmi.host.store import Store


def launch(root: Path) -> bool:
    """Whether it had to be built."""
    built = root / "appliance" / f".guestfs-{os.geteuid()}" / "appliance.d"
    with appliance.kept(root):
        if built.exists():
            return False
        built.mkdir(parents=True)
        with (built / "root").open("wb") as file:
            file.write(b"root" * 50_000)
            file.truncate(1 << 32)
        (built / "kernel").write_bytes(b"kernel")
        return True


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Store(tmp_path)
    assert launch(tmp_path)
    assert not launch(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["root", "kernel"])
def test_a_flipped_bit_is_found_before_it_is_launched(root: Path, name: str) -> None:
    (file,) = root.glob(f"appliance/.guestfs-*/appliance.d/{name}")
    with file.open("r+b") as opened:
        opened.write(b"s")
    assert launch(root)
    assert not launch(root)


def test_one_that_nothing_is_known_of_is_built_again(root: Path) -> None:
    (root / "appliance" / "files.json").unlink()
    assert launch(root)
    assert not launch(root)


def test_a_launch_that_fails_records_nothing(tmp_path: Path) -> None:
    Store(tmp_path)
    with pytest.raises(RuntimeError), appliance.kept(tmp_path):
        (tmp_path / "appliance" / f".guestfs-{os.geteuid()}" / "appliance.d").mkdir(parents=True)
        raise RuntimeError
    assert launch(tmp_path)


def test_verify_drops_a_damaged_one_and_prune_spares_one_in_use(root: Path) -> None:
    assert cache.verify(Store(root)) == ()
    (file,) = root.glob("appliance/.guestfs-*/appliance.d/kernel")
    file.write_bytes(b"Kernel")
    (damage,) = cache.verify(Store(root))
    assert damage.name == "appliance"
    assert cache.verify(Store(root)) == ()
    gone, left = cache.prune(Store(root), max_size=0, older_than=None, dry_run=False)
    assert gone == ()
    assert [entry.in_use for entry in left if entry.kind == "appliance"] == [True]
