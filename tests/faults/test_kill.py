"""Signals in every stage of the main job: what lives on, what is named, what is tagged, and what the next run does.

Each chain is one image from nothing to its tags, with one signal in each stage at a random moment; the last run of the
chain is left in peace. The disk is a boot sector of 1 MiB (``tests.tiny``); customise and bootstrap, which cannot take
it to their end, are only stopped.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import pytest

from kmi.host import guardian
from kmi.host.store import Store
from tests import living, tiny
from tests.fault_record import record, repeat, seeds
from tests.registry import registry
from tests.tiny import Kmi

SECONDS = 10.0
"""After this time nothing of a stopped run may live."""
STAGES = {"resolve": 0.15, "fetch": 0.1, "finish": 0.2, "wrap": 0.1, "push": 0.8, "test": 9.0, "sign": 3.0, "tag": 1.0}
"""With about how many seconds each takes."""
CACHED = {"fetch", "finish", "wrap", "index", "test"}
INTERRUPTED = 130
_STARTED = re.compile(r"· (\S+) +(\S+) +started")
_ENDED = re.compile(r"[✓=] (\S+) +(\S+) +(reused|\d)")
_RESUMED = re.compile(r"partial/\.unverified-\w+-[0-9a-f]+(\.validator)?")
"""What is kept of a download that was stopped."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A publisher, a registry, and how kmi is called there."""

    kmi: Kmi
    registry: str

    def fresh(self, name: str) -> Kmi:
        """A user who starts from nothing, with a folder for temporary files of its own."""
        folder = self.kmi.folder.with_name(name)
        (folder / "temporary").mkdir(parents=True)
        return replace(self.kmi, folder=folder)

    def undisturbed(self, other: Kmi) -> str:
        """The index that one run makes which nobody stops, of the download of ``other``: its date is in the image."""
        kmi = self.fresh(f"{other.folder.name}-undisturbed")
        for name in ("blobs", "locked"):
            shutil.copytree(other.cache / name, kmi.cache / name)
        result = kmi("build", "tiny")
        assert result.returncode == 0, result.stderr
        assert Ended(status=0, seconds=0, lines=result.stderr.splitlines()).reused() == {"fetch"}
        return result.stdout.strip()


@dataclass(kw_only=True)
class Ended:
    """A run that was stopped: its exit status, its lines, and the seconds until nothing but its guardian lived."""

    status: int
    seconds: float
    lines: list[str] = field(default_factory=list)

    def stages(self) -> set[str]:
        return {found[2] for line in self.lines if (found := _ENDED.match(line))}

    def reused(self) -> set[str]:
        return {found[2] for line in self.lines if (found := _ENDED.match(line)) and found[3] == "reused"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("kill")
    publisher = tiny.make(root / "publisher")
    (root / "registry").mkdir()
    with tiny.served(publisher.www) as mirrors, registry(root / "registry") as address:
        kmi = Kmi(folder=root / "nobody", tiny=publisher, base=tiny.local_base(root), mirrors=mirrors)
        yield World(kmi=kmi, registry=address)


@pytest.mark.parametrize("signals", [(signal.SIGKILL,), (signal.SIGTERM, signal.SIGINT)], ids=["killed", "asked"])
def test_a_signal_in_every_stage(world: World, signals: tuple[signal.Signals, ...]) -> None:
    for seed, random in seeds(f"chain-{signals[0].name}"):
        kmi = world.fresh(f"chain-{signals[0].name}-{seed}")
        target, done, rows = f"{world.registry}/{kmi.folder.name.lower()}", Ended(status=0, seconds=0), []
        for number, (stage, width) in enumerate(STAGES.items()):
            which = signals[(number + seed) % len(signals)]
            ended = stopped(kmi, ["run", "tiny", "--to", target], stage, random.random() * width, which)
            assert done.stages() & CACHED & ended.stages() <= ended.reused(), ended.lines
            done.lines += ended.lines
            nothing_bad_is_named(kmi)
            tags = tagged(kmi, target)
            assert not tags or "sign" in done.stages(), f"{tags} in {stage}"
            rows.append({"stage": stage, "signal": which.name, "seconds": round(ended.seconds, 2)})
        last = kmi("run", "tiny", "--to", target)
        assert last.returncode == 0, last.stderr
        assert last.stdout.strip() == f"{target}/tiny@{world.undisturbed(kmi)}"
        assert done.stages() & CACHED <= Ended(status=0, seconds=0, lines=last.stderr.splitlines()).reused()
        assert tagged(kmi, target) == {"1", "latest", *(t for t in tagged(kmi, target) if t.startswith("1-"))}
        nothing_bad_is_named(kmi)
        assert nothing_unfinished(kmi)
        for row in rows:
            record("kill", "run", seed=seed, result="all ended, rerun finished it with the same digest", **row)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_while_the_appliance_runs(world: World, number: signal.Signals) -> None:
    world.kmi.tiny.publish("soft")
    for name in ("customize", "customize_reason"):
        del world.kmi.tiny.manifests["soft"][name]
    world.kmi.tiny.save("soft")
    for seed, random in few_seeds(f"customize-{number.name}"):
        kmi = world.fresh(f"customize-{number.name}-{seed}")
        ended = stopped(kmi, ["build", "soft"], "customize", 0.5 + random.random() * 9, number)
        assert "customize" not in ended.stages()
        nothing_bad_is_named(kmi)
        assert nothing_unfinished(kmi)
        record("kill", "build", stage="customize", signal=number.name, seed=seed, seconds=round(ended.seconds, 2),
               result="all ended, nothing was kept")  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_in_a_bootstrap(world: World, number: signal.Signals) -> None:
    before = set(Path("/tmp").glob("mmdebstrap.*"))
    for seed, random in few_seeds(f"bootstrap-{number.name}"):
        kmi = world.fresh(f"bootstrap-{number.name}-{seed}")
        words: list[str | Path] = ["build", "debian:12", "--source", "bootstrap", "--distros", tiny.ROOT / "distros"]
        ended = stopped(kmi, words, "bootstrap", 3 + random.random() * 12, number)
        nothing_bad_is_named(kmi)
        assert nothing_unfinished(kmi)
        assert set(Path("/tmp").glob("mmdebstrap.*")) <= before
        record("kill", "build", stage="bootstrap", signal=number.name, seed=seed, seconds=round(ended.seconds, 2),
               result="all ended, nothing was kept")  # fmt: skip


def few_seeds(case: str) -> Iterator[tuple[int, Random]]:
    """These cases take longer: every third repetition, at least one."""
    for number, pair in enumerate(seeds(case)):
        if number < max(1, repeat() // 3):
            yield pair


def stopped(kmi: Kmi, words: list[str | Path], stage: str, delay: float, number: signal.Signals) -> Ended:
    """Run kmi, send the signal ``delay`` seconds after the stage began, and see that all of it ends in time."""
    process = kmi.start(*words, TMPDIR=str(kmi.folder / "temporary"))
    ended, reached = Ended(status=0, seconds=0), threading.Event()
    reader = threading.Thread(target=_read, args=(process, ended.lines, stage, reached))
    reader.start()
    assert reached.wait(120), ended.lines
    time.sleep(delay)
    family = living.family(process.pid)
    began = time.monotonic()
    process.send_signal(number)
    try:
        ended.status = process.wait(SECONDS)
    finally:
        process.kill()
    watchers = {pid for pid, words in family.items() if guardian.__file__ in words}
    left = living.left(family.keys() - watchers, kmi.folder, SECONDS - (time.monotonic() - began))
    ended.seconds = time.monotonic() - began
    left |= living.left(watchers, kmi.folder, SECONDS - ended.seconds)
    reader.join()
    assert left == {}, f"{number.name} in {stage} after {delay:.1f} s"
    expected = -number if number == signal.SIGKILL else INTERRUPTED
    finished = any(line.startswith("done in") for line in ended.lines)
    assert ended.status == expected or (finished and ended.status == 0), (ended.status, ended.lines)
    assert living.mounts(kmi.folder) == []
    assert [path for text in family.values() for path in sockets(text) if path.exists()] == []
    assert list((kmi.folder / "temporary").iterdir()) == []
    return ended


def _read(process: subprocess.Popen[str], lines: list[str], stage: str, reached: threading.Event) -> None:
    assert process.stdout
    with process.stdout:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if (found := _STARTED.match(line)) and found[2] == stage:
                reached.set()
    reached.set()


def sockets(command: str) -> list[Path]:
    """Folders for sockets outside of the cache that a command line names."""
    return [Path(found) for found in re.findall(r"/tmp/(?:libguestfs|kmi-vm-)\w+", command)]


def nothing_bad_is_named(kmi: Kmi) -> None:
    """What has a digest for its name has that digest; what is called a finished stage has its receipt."""
    named = [*kmi.cache.glob("blobs/sha256/*"), *kmi.folder.glob("build/*/oci/blobs/sha256/*")]
    assert [file for file in named if hashlib.sha256(file.read_bytes()).hexdigest() != file.name] == []
    for folder in (kmi.cache / "stages").glob("[!.]*"):
        assert json.loads((folder / "receipt.json").read_text())["outputs"] is not None, folder
    for file in kmi.folder.glob("build/*/receipt.json"):
        json.loads(file.read_text())


def nothing_unfinished(kmi: Kmi) -> bool:
    """Whether the next start removes what the stopped runs left."""
    warnings: list[str] = []
    Store(kmi.cache, warnings.append)
    assert warnings == []
    mine = [folder for folder in (kmi.cache / "tmp").iterdir() if any(folder.glob("[!ou]*"))]
    hidden = [path.relative_to(kmi.cache) for path in kmi.cache.rglob(".*")]
    assert [path for path in hidden if path.parts[0] != "tmp" and not _RESUMED.fullmatch(str(path))] == []
    return mine == [] and len(list((kmi.cache / "tmp").iterdir())) <= 1


def tagged(kmi: Kmi, target: str) -> set[str]:
    """The image tags in the registry, each of which verifies. (``sha256-…`` are cosign's own.)"""
    host, _, repository = f"{target}/tiny".partition("/")
    try:
        with urllib.request.urlopen(f"http://{host}/v2/{repository}/tags/list", timeout=10) as answer:
            tags = {tag for tag in json.load(answer)["tags"] or () if not tag.startswith("sha256-")}
    except urllib.error.HTTPError as error:
        assert error.code == 404, error
        return set()
    for tag in tags:
        result = kmi("verify", f"{target}/tiny:{tag}", "--key", kmi.public)
        assert result.returncode == 0, result.stderr
    return tags
