from __future__ import annotations

from pathlib import Path

from kmi.publish import embedded
from kmi.settings import Settings


def test_repository() -> None:
    assert embedded.repository(Settings(), "debian") == "127.0.0.1:5050/kmi/debian"
    assert embedded.repository(Settings(registry="ghcr.io/org/"), "debian") == "ghcr.io/org/debian"


def test_its_address() -> None:
    assert embedded.is_embedded("127.0.0.1:5050")
    assert embedded.is_embedded("localhost:5050")
    assert not embedded.is_embedded("127.0.0.1:5000")
    assert not embedded.is_embedded("127.0.0.1")
    assert embedded.data(Settings(cache=Path("/cache"))) == Path("/cache/registry/data")
