"""The product, run as a user runs it. Bootstrap, customise and boot happen once for the whole session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kmi.model.checks import DNS, IPV6
from tests.e2e.trees import Tree, mounted
from tests.fault_record import repeat

ROOT = Path(__file__).parents[2]
BUILDER = "kmi-builder-canary"
"""The builder's host name during the run, so that a trace of it in the disk is told from chance."""
AGENT = "kmi-canary-apt-agent"
"""What the builder's apt calls itself during the bootstrap: a harmless option of the kind that kmi passes on."""
EXCUSES = {DNS: "this host itself resolves no ", IPV6: "this host has no IPv6"}
"""What a check needs of the host; ``test_checks_can_fail`` gives it a name server."""


@dataclass(frozen=True, kw_only=True)
class Kmi:
    """kmi with a home, cache and output folder of its own."""

    folder: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def key(self) -> Path:
        return self.folder / "key" / "cosign.key"

    @property
    def public(self) -> Path:
        return self.key.with_suffix(".pub")

    @property
    def environ(self) -> dict[str, str]:
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {"PATH": os.environ["PATH"], "HOME": str(home), "KMI_CACHE": str(self.cache), "KMI_KEY": str(self.key)}

    def argv(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "kmi", *map(str, words)]

    def __call__(self, *words: str | Path, check: bool = True, **environ: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            ["unshare", "--uts", "sh", "-c", f'hostname {BUILDER} && exec "$@"', "sh", *self.argv(*words)],
            cwd=self.folder,
            env={**self.environ, "PYTHONPATH": str(ROOT), **environ},
            capture_output=True,
            text=True,
        )
        if check:
            assert result.returncode == 0, result.stderr
        return result


@dataclass(frozen=True, kw_only=True)
class Run:
    """One finished ``kmi run debian:12 --source bootstrap --to local``, with the receipt as that run left it."""

    kmi: Kmi
    stdout: str
    stderr: str
    receipt: dict[str, Any]

    @property
    def output(self) -> Path:
        return self.kmi.folder / "build" / "debian-12-amd64"

    @property
    def reference(self) -> str:
        return self.stdout.strip()

    @property
    def tested(self) -> dict[tuple[str, str], dict[str, Any]]:
        """The results of the boot checks by machine and check."""
        (test,) = (stage for stage in self.receipt["stages"] if stage["stage"] == "test")
        return {(one["machine"], one["check"]): one for one in test["outputs"]["report"]["results"]}

    def stage(self, name: str) -> Path:
        (found,) = (self.kmi.cache / "stages").glob(f"{name}-*")
        return found


@contextmanager
def apt_option(line: str) -> Iterator[None]:
    """An option in this machine's own apt configuration, for a while: kmi's children inherit no ``APT_CONFIG``."""
    path = Path("/etc/apt/apt.conf.d/zz-kmi-canary")
    path.write_text(f"{line}\n")
    try:
        yield
    finally:
        path.unlink()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base image made of this machine's busybox."""
    layout = tmp_path_factory.mktemp("base") / "layout"
    subprocess.run([sys.executable, ROOT / "containerfiles/base/local_base.py", layout], check=True, stdout=2)
    return layout


@pytest.fixture(scope="session")
def bootstrapped(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Run:
    """The main job on its embedded default."""
    kmi = Kmi(folder=tmp_path_factory.mktemp("run"))
    with apt_option(f'Acquire::http::User-Agent "{AGENT}";'):
        result = kmi("run", "debian:12", "--source", "bootstrap", "--to", "local", "--base", base,
                     "--distros", ROOT / "distros")  # fmt: skip
    receipt = json.loads((kmi.folder / "build" / "debian-12-amd64" / "receipt.json").read_text())
    return Run(kmi=kmi, stdout=result.stdout, stderr=result.stderr, receipt=receipt)


@pytest.fixture
def each_alone() -> None:
    """For tests of ``make test-all``: the others do not collect them."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if repeat() == 1:
        left = [item for item in items if "each_alone" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def before(bootstrapped: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """The verified input's files."""
    with mounted(bootstrapped.stage("bootstrap") / "disk.qcow2", tmp_path_factory.mktemp("before")) as tree:
        yield tree


@pytest.fixture(scope="session")
def after(bootstrapped: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """The finished disk's files."""
    with mounted(bootstrapped.stage("finish") / "disk.qcow2", tmp_path_factory.mktemp("after")) as tree:
        yield tree
