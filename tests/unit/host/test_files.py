"""Seals, and a digest of contents that costs what a sparse file holds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.host import files
from kmi.host.files import fingerprint, seal, unseal, write_json

VALUE = {"digest": "sha256:ab", "size": 5, "text": "ü \ud7ff", "list": [1, None, True]}


def test_every_flipped_bit_of_a_sealed_file_is_seen(tmp_path: Path) -> None:
    """Each bit in turn: the value stays the same (a blank may become another) or there is none."""
    path = tmp_path / "x.json"
    write_json(path, seal(VALUE))
    raw = path.read_bytes()
    missed = 0
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        got = unseal(path)
        assert got in (None, VALUE)
        missed += got is not None
    assert missed < 40
    path.write_bytes(raw)
    assert unseal(path) == VALUE


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"a": 1}', '{"seal": "x"}', "[" * 100_000])
def test_what_has_no_seal_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    assert unseal(tmp_path / "x") is None
    assert unseal(tmp_path / "none") is None
    assert unseal(tmp_path) is None
    (tmp_path / "link").symlink_to(tmp_path / "y")
    write_json(tmp_path / "y", seal({}))
    assert unseal(tmp_path / "link") is None


def test_a_hole_and_zeros_are_the_same(tmp_path: Path) -> None:
    block = 64 * 1024
    data = b"".join((b"x" * 100, bytes(3 * block), b"y", bytes(block), b"z" * block, bytes(2 * block)))
    (tmp_path / "dense").write_bytes(data)
    with (tmp_path / "sparse").open("wb") as file:
        for start in range(0, len(data), 4096):
            if any(data[start : start + 4096]):
                file.seek(start)
                file.write(data[start : start + 4096])
        file.truncate(len(data))
    assert (tmp_path / "sparse").stat().st_blocks < (tmp_path / "dense").stat().st_blocks
    assert fingerprint(tmp_path / "sparse") == fingerprint(tmp_path / "dense")
    os.truncate(tmp_path / "sparse", len(data) + 1)
    assert fingerprint(tmp_path / "sparse") != fingerprint(tmp_path / "dense")


def test_a_huge_hole_costs_nothing(tmp_path: Path) -> None:
    with (tmp_path / "disk.raw").open("wb") as file:
        file.seek(1 << 39)
        file.write(b"end")
        file.truncate(1 << 40)
    assert fingerprint(tmp_path / "disk.raw").startswith("blocks:")


@given(size=st.integers(1, 300_000), spot=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), fill=st.booleans())
def test_every_bit_counts(
    tmp_path_factory: pytest.TempPathFactory, size: int, spot: float, bit: int, fill: bool
) -> None:
    path = tmp_path_factory.mktemp("bit") / "file"
    data = bytearray((b"\x5a" if fill else b"\0") * size)
    path.write_bytes(data)
    before = fingerprint(path)
    data[int(spot * size)] ^= 1 << bit
    path.write_bytes(data)
    assert fingerprint(path) != before


def test_a_seal_is_of_the_value_and_not_of_its_layout(tmp_path: Path) -> None:
    (tmp_path / "x").write_text(json.dumps(dict(reversed(seal(VALUE).items())), indent=9))
    assert unseal(tmp_path / "x") == VALUE


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    """And nothing else: neither another file's temporaries, nor those of a writer who is still at work."""
    path = tmp_path / "receipt.json"
    handle, working = files._temporary(path)
    dead, other = tmp_path / ".receipt.json.abcdefgh", tmp_path / ".other.json.abcdefgh"
    for file in (dead, other, tmp_path / ".receipt.json.abc"):
        file.write_text("half")
    (tmp_path / ".receipt.json.12345678").symlink_to(other)
    write_json(path, VALUE)
    left = sorted(file.name for file in tmp_path.iterdir())
    expected = [".other.json.abcdefgh", ".receipt.json.12345678", ".receipt.json.abc", "receipt.json", working.name]
    assert left == sorted(expected)
    os.close(handle)


def test_a_writer_who_is_killed_leaves_the_old_file_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    path = tmp_path / "x"
    files.write_text(path, "old")
    child = os.fork()
    if child == 0:
        files._temporary(path)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 2 and path.read_text() == "old"
    files.write_text(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["x"] and path.read_text() == "new"
