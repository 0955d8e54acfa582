"""What docker-registry takes from others in the embedded registry: nothing there may keep kmi from starting it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from kmi.publish import embedded_data

CONFIG = b"{}"


def put(v2: Path, data: bytes) -> str:
    name = hashlib.sha256(data).hexdigest()
    folder = v2 / "blobs" / "sha256" / name[:2] / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").write_bytes(data)
    return name


def tagged(v2: Path, manifest: bytes) -> Path:
    """The folder of the tag ``t`` in docker-registry's layout, on that manifest."""
    name, home = put(v2, manifest), v2 / "repositories" / "kmi" / "x" / "_manifests"
    for folder in (f"revisions/sha256/{name}", f"tags/t/index/sha256/{name}", "tags/t/current"):
        (home / folder).mkdir(parents=True)
        (home / folder / "link").write_text(f"sha256:{name}")
    return home / "tags" / "t"


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    return tmp_path / "data" / "docker" / "registry" / "v2"


@pytest.mark.parametrize(
    "manifest",
    [
        {"config": {"digest": f"sha256:{hashlib.sha256(CONFIG).hexdigest()}"}, "layers": None},
        {"manifests": None},
        {"layers": [{}], "config": 7},
        [],
    ],
)
def test_a_strange_manifest_is_left_alone(v2: Path, tmp_path: Path, manifest: object) -> None:
    put(v2, CONFIG)
    tag = tagged(v2, json.dumps(manifest).encode())
    assert embedded_data.mend(tmp_path, quick=False) == ()
    assert tag.is_dir()


def test_a_manifest_that_lacks_a_layer_is_removed_with_its_tag(v2: Path, tmp_path: Path) -> None:
    tag = tagged(v2, json.dumps({"layers": [{"digest": f"sha256:{'a' * 64}"}]}).encode())
    assert len(embedded_data.mend(tmp_path, quick=False)) == 2
    assert not tag.exists()
