"""What tests of verbs share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any folder, an environment that sets nothing but a cache of its own and the project's catalogue."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("KMI_") or name == "COLUMNS"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KMI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KMI_DISTROS", str(Path(__file__).parents[3] / "distros"))
