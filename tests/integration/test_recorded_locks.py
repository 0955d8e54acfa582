"""Every committed lock is what kmi makes of the documents that were recorded from publishers, and of nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = os.environ.get("KMI_SAMPLES")


@pytest.mark.skipif(SAMPLES is None, reason="the recorded samples of publishers' documents are not here (KMI_SAMPLES)")
def test_the_committed_locks_are_what_the_recorded_documents_give(tmp_path: Path) -> None:
    distros = tmp_path / "distros"
    shutil.copytree(ROOT / "distros", distros, ignore=shutil.ignore_patterns("*.lock.json"))
    argv = [sys.executable, ROOT / "hack/record_locks.py", "--distros", distros]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    made, committed = (
        {path.name: path.read_text() for path in folder.glob("*.lock.json")} for folder in (distros, ROOT / "distros")
    )
    assert made == committed
    assert len(made) >= 4


@pytest.mark.skipif(SAMPLES is None, reason="the recorded samples of publishers' documents are not here (KMI_SAMPLES)")
def test_a_recorded_document_with_one_other_bit_makes_no_lock(tmp_path: Path) -> None:
    distros, samples = tmp_path / "distros", tmp_path / "samples"
    shutil.copytree(ROOT / "distros", distros, ignore=shutil.ignore_patterns("*.lock.json"))
    shutil.copytree(SAMPLES or "", samples)
    sums = samples / "ubuntu-24.04-release-20260725-SHA256SUMS"
    sums.write_bytes(sums.read_bytes().replace(b"d1940f7d", b"d1940f7e"))
    argv = [sys.executable, ROOT / "hack/record_locks.py", "--distros", distros, "--samples", samples]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 4
    assert "BADSIG" in done.stderr
    assert "ubuntu.lock.json" not in {path.name for path in distros.glob("*.lock.json")}
    assert (distros / "freebsd.lock.json").exists()
