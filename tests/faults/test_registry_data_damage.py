"""Files of the embedded registry with a bit flipped: the next ``kmi run`` publishes the same digest whole again."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.fault_record import record, repeat, seeds
from tests.tiny import Kmi

KINDS = {
    "a layer": "blobs/sha256/*/*/data",
    "a manifest": "repositories/kmi/tiny/_manifests/revisions/sha256/*/link",
    "a link to a manifest": "repositories/kmi/tiny/_manifests/revisions/sha256/*/link",
    "a link to a layer": "repositories/kmi/tiny/_layers/sha256/*/link",
    "a tag": "repositories/kmi/tiny/_manifests/tags/*/current/link",
    "a tag's history": "repositories/kmi/tiny/_manifests/tags/*/index/sha256/*/link",
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kmi, str]]:
    root = tmp_path_factory.mktemp("registry")
    made = tiny.make(root / "tiny")
    with tiny.served(made.www) as mirrors:
        (root / "run").mkdir()
        kmi = Kmi(folder=root / "run", tiny=made, base=tiny.local_base(root), mirrors=mirrors)
        result = kmi("run", "tiny")
        assert result.returncode == 0, result.stderr
        subprocess.run(["cp", "-a", kmi.cache / "registry", root / "registry"], check=True)
        yield kmi, result.stdout.strip()


def victim(v2: Path, kind: str, dice: random.Random) -> Path:
    """A file of that kind, not chosen by its name (the larger blobs are layers)."""
    found = sorted(v2.glob(KINDS[kind]))
    if kind == "a manifest":
        return v2 / "blobs" / "sha256" / (name := dice.choice(found).parent.name)[:2] / name / "data"
    if kind == "a layer":
        found = sorted(found, key=lambda path: path.stat().st_size)[-3:]
    return dice.choice(found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_in_the_registry(published: tuple[Kmi, str], kind: str) -> None:
    kmi, reference = published
    for seed, dice in seeds(kind):
        shutil.rmtree(kmi.cache / "registry")
        subprocess.run(["cp", "-a", kmi.folder.parent / "registry", kmi.cache / "registry"], check=True)
        path = victim(kmi.cache / "registry/data/docker/registry/v2", kind, dice)
        data = bytearray(path.read_bytes())
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        again = kmi("run", "tiny")
        assert (again.returncode, again.stdout.strip()) == (0, reference), f"{path} {seed}\n{again.stderr}"
        assert "was damaged and is removed" in again.stderr
        verified = kmi("verify", reference, "--key", kmi.public)
        assert verified.returncode == 0, f"{path} {seed}\n{verified.stderr}"
        assert kmi("cache", "verify").returncode == 0
        record("damage", f"embedded registry: {kind}", result="removed, and pushed again", seed=seed)


def test_verify_finds_what_the_registry_holds_damaged(published: tuple[Kmi, str]) -> None:
    kmi, reference = published
    path = victim(kmi.cache / "registry/data/docker/registry/v2", "a layer", random.Random(repeat()))
    path.write_bytes(b"?" + path.read_bytes()[1:])
    found = kmi("cache", "verify")
    assert found.returncode == 4
    assert path.parent.name in found.stdout
    assert kmi("run", "tiny").stdout.strip() == reference
    assert kmi("cache", "verify").returncode == 0
