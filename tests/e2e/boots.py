"""Boots of one disk, in a process of their own whose name server is the tests'.

QEMU's user network hands its guest's queries to the first name server in the host's resolv.conf, which is another file
in the mount namespace of ``started``. So a name is looked up for real on a host that resolves none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from kmi.boot import round as rounds
from kmi.boot import ssh
from kmi.boot.checks.identity import Identity
from kmi.boot.console import Patience
from kmi.boot.layerdisk import LayerDisk
from kmi.boot.round import Bench, Boot
from kmi.boot.seed import SeedKind
from kmi.host.ui import Reporter
from kmi.model.codec import decode, encode
from kmi.model.metadata import Metadata
from kmi.model.platform import Arch, Firmware
from kmi.model.stages import CheckResult
from tests.e2e.broken import Seeds
from tests.machines import TCG
from tests.resolver import HOST

ROOT = Path(__file__).parents[2]
PATIENCE = Patience(quiet=100, overall=1800, least=40)
"""Less than half of what kmi grants a guest: where a fault has to be waited for, the waiting is what a test costs."""

_OWN_RESOLVER = 'mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && shift && exec "$@"'


@dataclass(frozen=True, kw_only=True)
class Booted:
    """What the checks of one boot said, and who the guest was if it told."""

    results: tuple[CheckResult, ...]
    identity: Identity | None

    @property
    def machine(self) -> str:
        return self.results[0].machine


def booted(raw: Path, seeds: Seeds, *, metadata: Metadata, folder: Path) -> tuple[Booted, ...]:
    """Boot a raw disk for amd64 once with each of the seeds. ``folder`` takes ``logs/`` and ``boots.log``."""
    (folder / "resolv.conf").write_text(f"nameserver {HOST}\n")
    (folder / "boots.json").write_text(json.dumps({"raw": str(raw), "seeds": seeds, "metadata": metadata}))
    argv = ["unshare", "--mount", "sh", "-c", _OWN_RESOLVER, "sh", str(folder / "resolv.conf"),
            sys.executable, "-m", "tests.e2e.boots", str(folder)]  # fmt: skip
    with (folder / "boots.log").open("wb") as log:
        done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=log)
    assert done.returncode == 0, (folder / "boots.log").read_text()[-2000:]
    return tuple(decode(Booted, one) for one in json.loads(done.stdout))


def _boots(folder: Path) -> list[dict[str, Any]]:
    wanted = json.loads((folder / "boots.json").read_text())
    raw = Path(wanted["raw"])
    scratch = folder / "scratch"
    scratch.mkdir()
    disk = LayerDisk(file=raw, offset=0, size=raw.stat().st_size, format="raw")
    found = []
    with Reporter().step(folder.name, "test") as step:
        bench = Bench(
            disk=disk, arch=Arch.AMD64, metadata=wanted["metadata"], acceleration=TCG, key=ssh.new_key(scratch),
            scratch=scratch, logs=folder / "logs", step=step,
        )  # fmt: skip
        for seed in wanted["seeds"]:
            kind = SeedKind(seed) if seed else None
            boot = Boot(arch=Arch.AMD64, firmware=Firmware.BIOS, seed=kind, uuid=str(uuid.uuid4()))
            seen = rounds.run(bench, boot)
            found.append(encode(Booted(results=seen.results, identity=seen.identity)))
    return found


if __name__ == "__main__":
    with mock.patch.object(Patience, "of", lambda _: PATIENCE):
        print(json.dumps(_boots(Path(sys.argv[1]))))
