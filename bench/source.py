"""The disk that both contenders start from, and the base image that both put below it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from kmi import catalogue
from kmi.bootstrap import build as bootstrap_build
from kmi.host.store import RECEIPT, Store, hash_file
from kmi.model.spec import BuildArchives, ImageSpec
from kmi.model.stages import Evidence, Origin, VerifiedImage
from kmi.settings import Settings

ROOT = Path(__file__).parents[1]
SELECTOR = "debian:12"


def spec() -> ImageSpec:
    """Debian 12 for this machine."""
    (found,) = catalogue.select(catalogue.load(ROOT / "distros"), [SELECTOR])
    return found


def archives(chosen: ImageSpec, settings: Settings) -> BuildArchives:
    """The package sources of this host."""
    assert chosen.archive
    return bootstrap_build.archives(chosen.archive, settings.package_mirrors)


def given(chosen: ImageSpec, disk: Path) -> VerifiedImage:
    """A qcow2 that the user names. It is only measured, never published."""
    now, digest = datetime.now(UTC).replace(microsecond=0), hash_file(disk)
    origin = Origin(
        method="user",
        url=disk.name,
        checksum=digest,
        build=f"{now:%Y%m%d}",
        released_at=now,
        evidence=Evidence(kind="user"),
        pulled_at=now,
    )
    return VerifiedImage(id=chosen.id, path=disk, digest=digest, format="qcow2", origin=origin)


def bootstrapped(chosen: ImageSpec, base: Path, cache: Path, output: Path) -> VerifiedImage:
    """The disk that ``kmi build --source bootstrap`` starts from; made by it unless the cache has it."""
    argv: list[object] = [
        sys.executable,
        "-m",
        "kmi",
        "build",
        SELECTOR,
        "--source",
        "bootstrap",
        "--base",
        base,
        "--cache",
        cache,
    ]
    argv += ["--output", output, "--distros", ROOT / "distros"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(list(map(str, argv)), check=True, stdout=subprocess.DEVNULL, env=environment)
    receipt = json.loads((output / str(chosen.id) / RECEIPT).read_text(encoding="utf-8"))
    key = next(stage["key"] for stage in receipt["stages"] if stage["stage"] == "bootstrap")
    stage = Store(cache).find("bootstrap", key)
    assert stage
    return bootstrap_build.load(chosen, stage.path, stage.outputs)


def local_base(layout: Path) -> Path:
    """A base image made of this machine's busybox, as the demo uses."""
    script = ROOT / "containerfiles/base/local_base.py"
    subprocess.run([sys.executable, str(script), str(layout)], check=True, stdout=subprocess.DEVNULL)
    return layout
