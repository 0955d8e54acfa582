"""``kmi publish`` on layouts of boot sectors: what it joins, and what it refuses before a registry hears of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmi.model.checks import CRITERIA
from kmi.model.codec import encode
from kmi.model.platform import Arch
from kmi.model.stages import CheckResult, Outcome, TestReport
from kmi.oci.layout import CONFIG, INDEX, MANIFEST, Descriptor, Layout
from tests import tiny
from tests.registry import registry


@dataclass(frozen=True, kw_only=True)
class Place:
    """kmi, and a registry to publish to."""

    kmi: tiny.Kmi
    to: str

    def publish(self, *words: str | Path, to: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        return self.kmi("publish", *words, "--to", to or self.to, **environ)

    def layout(self, arch: str = "amd64") -> Path:
        return self.kmi.folder / "build" / f"tiny-1-{arch}" / "oci"

    def change(self, **changes: object) -> None:
        """Change the manifest's only release."""
        self.kmi.tiny.manifests["tiny"]["releases"][0] |= changes
        self.kmi.tiny.save("tiny")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    for name in ("registry", "kmi"):
        (tmp_path / name).mkdir()
    up = tiny.make(tmp_path / "upstream", firmware={"amd64": ["bios"], "arm64": ["uefi"]})
    base = for_both(tiny.local_base(tmp_path))
    with tiny.served(up.www) as mirrors, registry(tmp_path / "registry") as address:
        kmi = tiny.Kmi(folder=tmp_path / "kmi", tiny=up, base=base, mirrors=mirrors)
        yield Place(kmi=kmi, to=f"{address}/x")


def for_both(base: Path) -> Path:
    """The base, and the same called arm64: nothing in it is run here."""
    layout = Layout.open(base)
    amd = next(layout.images(layout.roots()[0].digest))
    manifest = layout.read_json(amd.digest)
    config = layout.read_json(Descriptor.of_json(manifest["config"]).digest)
    other = layout.add_json(CONFIG, {**config, "architecture": "arm64"})
    arm = layout.add_json(MANIFEST, {**manifest, "config": other.to_json()})
    listed = [
        {**one.to_json(), "platform": {"architecture": arch, "os": "linux"}}
        for one, arch in ((amd, "amd64"), (arm, "arm64"))
    ]
    layout.set_roots((layout.add_json(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}),))
    return base


def report(layout: Path, firmware: str = "bios") -> Path:
    """A report that the layout's only image passes every check, written by hand: nothing is booted for it."""
    found = Layout.open(layout)
    (image,) = found.images(found.roots()[0].digest)
    rows = [
        CheckResult(check=name, machine=f"amd64/{firmware}", outcome=Outcome.PASSED, detail="by hand", seconds=0.1)
        for name in CRITERIA
    ]
    file = layout.parent / "report.json"
    file.write_text(json.dumps(encode(TestReport(subject=image.digest, arch=Arch.AMD64, results=tuple(rows)))))
    return file


def stages(place: Place, folder: str) -> list[tuple[str, str]]:
    receipt = json.loads((place.kmi.folder / "build" / folder / "receipt.json").read_text())
    return [(row["image"], row["stage"]) for row in receipt["stages"]]


def test_architectures_built_apart_are_published_as_if_built_together(place: Place) -> None:
    place.change(architectures=["amd64", "arm64"])
    for arch in ("amd64", "arm64"):
        assert place.kmi("build", "tiny", "--arch", arch).returncode == 0
    layouts = ("--from", place.layout("arm64"), "--from", place.layout("amd64"))
    apart = place.publish(*layouts)
    assert apart.returncode == 0, apart.stderr
    assert "skipped: this host is amd64 and boots no arm64 image" in apart.stderr
    assert "tiny-1-amd64       test" in apart.stderr and "amd64/bios 2 passed" in apart.stderr
    assert [row for row in stages(place, "tiny-1") if row[1] in ("wrap", "test")] == [
        ("tiny-1-arm64", "wrap"), ("tiny-1-amd64", "wrap"), ("tiny-1-amd64", "test"), ("tiny-1-arm64", "test"),
    ]  # fmt: skip
    together = place.kmi("run", "tiny", "--arch", "all", "--to", place.to)
    assert (together.returncode, together.stdout) == (0, apart.stdout), together.stderr
    place.change(tier="proposed")
    refused = place.publish(*layouts)
    assert refused.returncode == 5
    assert "login-prompt on arm64/uefi: skipped, this host is amd64" in refused.stderr


def test_only_what_is_whole_and_tested_is_published(place: Place) -> None:
    """Nothing of this reaches the registry."""
    assert place.kmi("build", "tiny").returncode == 0
    untested = place.layout().parent / "receipt.json"
    without = place.publish("--from", place.layout(), "--report", untested)
    assert (without.returncode, "there is no test report" in without.stderr) == (2, True)

    other = place.kmi("build", "tiny", "--output", "other", "--as-of", "2020-01-01")
    assert other.returncode == 0, other.stderr
    whole = place.kmi.folder / "other" / "tiny-1-amd64" / "oci"
    foreign = place.publish("--from", place.layout(), "--report", report(whole))
    assert (foreign.returncode, "tiny-1-amd64 was not tested" in foreign.stderr) == (5, True)
    half = place.publish("--from", whole, "--report", report(whole, "uefi"))
    assert (half.returncode, "on amd64/bios" in half.stderr) == (5, True)

    pretended = json.loads(report(whole).read_text()) | {"simulated": True}
    (place.kmi.folder / "pretended.json").write_text(json.dumps(pretended))
    unreal = place.publish("--from", whole, "--report", place.kmi.folder / "pretended.json")
    assert (unreal.returncode, "was not really tested" in unreal.stderr) == (5, True)

    good = report(whole)
    bent = place.kmi.folder / "bent"
    shutil.copytree(whole, bent)
    disk = max((bent / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(disk.read_bytes())
    data[-2000] ^= 1
    disk.chmod(0o644)
    disk.write_bytes(data)
    flipped = place.publish("--from", bent, "--report", good)
    assert (flipped.returncode, "a blob does not match its name" in flipped.stderr) == (4, True)

    place.change(version="2", tier="preview")
    unknown = place.publish("--from", whole, "--report", good)
    assert (unknown.returncode, "the catalogue has no image tiny-1-amd64" in unknown.stderr) == (2, True)
    for result in (without, foreign, half, unreal, flipped, unknown):
        assert result.stdout == "" and "push " not in result.stderr

    place.change(version="1")
    assert place.publish("--from", whole, "--report", good).returncode == 0


def test_the_terms_hold_for_run_and_publish(place: Place) -> None:
    """Restricted redistribution and the end of life, each with the flag that overrides it."""
    assert place.kmi("build", "tiny").returncode == 0
    given = ("--from", place.layout(), "--report", report(place.layout()))
    policy = "https://tiny.example/policy"
    place.kmi.tiny.manifests["tiny"] |= {"redistribution": "restricted", "redistribution_policy": policy}
    place.kmi.tiny.save("tiny")
    for refused in (place.publish(*given), place.kmi("run", "tiny", "--to", place.to)):
        assert (refused.returncode, policy in refused.stderr, refused.stdout) == (2, True, "")
    assert place.publish(*given, "--redistribute").returncode == 0
    listed = place.kmi("list", "--format", "github")
    assert json.loads(listed.stdout) == {"include": []} and policy in listed.stderr
    assert len(json.loads(place.kmi("list", "--format", "github", "--redistribute").stdout)["include"]) == 1

    place.change(end_of_life="2020-01-31")
    for verb in (("build", "tiny"), ("run", "tiny", "--redistribute", "--to", place.to)):
        refused = place.kmi(*verb)
        assert refused.returncode == 2 and "it ended on 2020-01-31" in refused.stderr
    ended = place.publish(*given, "--redistribute")
    assert ended.returncode == 2 and "--past-end-of-life takes it all the same" in ended.stderr
    assert place.publish(*given, "--redistribute", "--past-end-of-life").returncode == 0
    assert place.kmi("build", "tiny", "--past-end-of-life").returncode == 0
