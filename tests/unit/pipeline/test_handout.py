"""The layout that the user gets: whole or not at all, and nothing they do to it reaches the cache."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from kmi.errors import HostError
from kmi.oci.layout import INDEX, Layout
from kmi.pipeline.handout import hand_out, holds


@pytest.fixture
def source(tmp_path: Path) -> Path:
    layout = Layout.create(tmp_path / "cache")
    layout.set_roots((layout.add_json(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}),))
    return layout.root


def test_blobs_are_links_and_the_index_is_a_copy(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "build" / "oci"
    target.parent.mkdir()
    hand_out(source, target)
    (root,) = Layout(source).roots()
    assert holds(target, source)
    assert Layout(target).blob(root.digest).samefile(Layout(source).blob(root.digest))
    before = (source / "index.json").read_bytes()
    (target / "index.json").write_text("{}")
    assert (source / "index.json").read_bytes() == before
    assert not holds(target, source)


def test_what_a_kill_left_is_replaced(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "oci"
    for half in (target, tmp_path / ".oci.new"):
        (half / "blobs").mkdir(parents=True)
    assert not holds(target, source)
    hand_out(source, target)
    assert holds(target, source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "oci"]


def test_a_full_disk_keeps_what_was_there_and_nothing_half(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "oci").mkdir()

    def full(file: str, copy: str) -> None:
        Path(copy).touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), copy)

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(OSError):
        hand_out(source, tmp_path / "oci")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "oci"]


def test_a_link_or_a_file_in_its_place_is_refused_and_left(source: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "precious").touch()
    (tmp_path / "oci").symlink_to(theirs)
    (tmp_path / "file").touch()
    for name in ("oci", "file"):
        with pytest.raises(HostError, match="no place"):
            hand_out(source, tmp_path / name)
    assert (tmp_path / "oci" / "precious").exists()
