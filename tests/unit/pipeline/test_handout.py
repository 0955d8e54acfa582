"""The layout that the user gets: whole or not at all, and nothing they do to it reaches the cache."""

from __future__ import annotations

from pathlib import Path

import pytest

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
