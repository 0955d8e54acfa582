"""``kmi test`` on an image of 1 MiB that shows a login prompt and nothing else: targets, verdicts, bad input."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from kmi.model.checks import CHECKS
from kmi.oci.layout import Layout
from tests import tiny
from tests.kubevirt_api import simulated
from tests.registry import registry


@pytest.fixture(scope="module")
def kmi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tiny.Kmi]:
    """Two images, built: one boots, the other does not."""
    folder = tmp_path_factory.mktemp("trial")
    up = tiny.make(folder / "upstream", "tiny", "dead")
    up.publish("dead", bytes(1 << 20))
    (folder / "kmi").mkdir()
    with tiny.served(up.www) as mirrors:
        kmi = tiny.Kmi(folder=folder / "kmi", tiny=up, base=tiny.local_base(folder), mirrors=mirrors)
        built = kmi("build", "tiny", "dead")
        assert built.returncode == 0, built.stderr
        yield kmi


def results(kmi: tiny.Kmi, name: str = "tiny-1-amd64") -> dict[str, Any]:
    found = json.loads((kmi.folder / "build" / name / "test/amd64/results.json").read_text())
    assert isinstance(found, dict)
    return found


def test_the_last_build_of_a_selector(kmi: tiny.Kmi) -> None:
    run = kmi("test", "tiny")
    assert run.returncode == 0, run.stderr
    seen = results(kmi)
    layout = Layout.open(kmi.folder / "build/tiny-1-amd64/oci")
    (image,) = layout.images(layout.roots()[0].digest)
    assert run.stdout == f"tiny-1-amd64 {image.digest} passed\n"
    outcomes = {(one["machine"], one["check"]): one["outcome"] for one in seen["results"]}
    assert outcomes["amd64/bios", "login-prompt"] == "passed"
    assert outcomes["amd64/bios/no-seed", "agent-reboot"] == "skipped"
    assert {check for _, check in outcomes} == set(CHECKS)
    assert all(one["detail"] for one in seen["results"])
    folder = kmi.folder / "build/tiny-1-amd64/test/amd64"
    assert {"console-bios.log", "qemu-bios.log", "firmware-bios.log"} <= {p.name for p in (folder / "log").iterdir()}
    suites = ElementTree.parse(folder / "junit.xml").getroot()
    assert {suite.get("name") for suite in suites} == {"amd64/bios", "amd64/bios/no-seed", "amd64"}
    statement = json.loads((folder / "statement.json").read_text())
    assert statement["subject"][0]["digest"]["sha256"] == image.digest.hex
    assert "amd64/bios login-prompt" in statement["predicate"]["passedTests"]


def test_a_failure_leaves_console_and_picture_and_only_advises_a_preview(kmi: tiny.Kmi) -> None:
    run = kmi("test", "dead")
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith(" warned\n") and "advises" in run.stderr
    log = kmi.folder / "build/dead-1-amd64/test/amd64/log"
    assert (log / "screen-bios.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert "No bootable device" in (log / "firmware-bios.log").read_text()


def test_the_tier_that_is_asked_decides_what_blocks(kmi: tiny.Kmi) -> None:
    run = kmi("test", "dead", "--tier", "proposed", "--json")
    assert run.returncode == 5, run.stderr
    assert "login-prompt on amd64/bios: failed" in run.stderr
    (told,) = json.loads(run.stdout)
    assert (told["image"], told["tier"], told["verdict"]["allowed"]) == ("dead-1-amd64", "proposed", False)


def stranger(kmi: tiny.Kmi, folder: Path) -> Path:
    """The image without a word on what it is, as most people's are."""
    source = Layout.open(kmi.folder / "build/tiny-1-amd64/oci")
    (image,) = source.images(source.roots()[0].digest)
    manifest = source.read_json(image.digest)
    config = json.loads(source.blob(source_digest(manifest["config"])).read_text())
    config["config"].pop("Labels")
    layout = Layout.create(folder)
    for layer in manifest["layers"]:
        layout.take(source, source_digest(layer))
    manifest["config"] = layout.add_json(manifest["config"]["mediaType"], config).to_json()
    manifest.pop("annotations", None)
    layout.set_roots((layout.add_json(manifest["mediaType"], manifest),))
    return folder


def source_digest(descriptor: dict[str, Any]) -> Any:
    from kmi.oci.layout import Descriptor

    return Descriptor.of_json(descriptor).digest


def test_an_image_that_kmi_did_not_build(kmi: tiny.Kmi, tmp_path: Path) -> None:
    layout = stranger(kmi, tmp_path / "oci")
    run = kmi("test", layout, "--init", "none", "--agent", "absent", "--results", tmp_path / "seen")
    assert run.returncode == 0, run.stderr
    assert "not in the catalogue" in run.stderr
    seen = json.loads((tmp_path / "seen/amd64/results.json").read_text())
    outcomes = {one["check"]: one["outcome"] for one in seen["results"] if one["machine"] == "amd64/bios"}
    assert (outcomes["login-prompt"], outcomes["ssh"]) == ("passed", "skipped")
    refused = kmi("test", layout, "--init", "none", "--agent", "absent", "--results", tmp_path / "seen",
                  "--tier", "proposed")  # fmt: skip
    assert refused.returncode == 5, refused.stderr
    assert "guest-agent on amd64/bios: skipped, the image has no guest agent" in refused.stderr


def test_an_image_in_a_registry_by_tag_and_by_digest(kmi: tiny.Kmi, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with registry(tmp_path / "registry") as address:
        published = kmi("publish", "--from", kmi.folder / "build/tiny-1-amd64/oci", "--to", f"{address}/x")
        assert published.returncode == 0, published.stderr
        by_digest = kmi("test", published.stdout.strip(), "--results", tmp_path / "a")
        assert by_digest.returncode == 0, by_digest.stderr
        by_tag = kmi("test", f"{address}/x/tiny:1", "--results", tmp_path / "b")
        assert (by_tag.returncode, by_tag.stdout) == (0, by_digest.stdout)
        statement = json.loads((tmp_path / "a/amd64/statement.json").read_text())
        assert statement["subject"][0]["name"] == f"{address}/x/tiny"
        gone = kmi("test", f"{address}/x/nothing:1")
        assert gone.returncode == 6, gone.stderr


def test_on_a_cluster_that_is_simulated(kmi: tiny.Kmi, tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    with registry(tmp_path / "registry") as address, simulated(tmp_path / "cluster") as cluster:
        published = kmi("publish", "--from", kmi.folder / "build/tiny-1-amd64/oci", "--to", f"{address}/x")
        words = ["test", published.stdout.strip(), "--on", "kubevirt", "--results", tmp_path / "seen"]
        run = kmi(*words, KUBECONFIG=str(cluster.kubeconfig()))
        assert run.returncode == 0, run.stderr
        assert run.stdout.endswith(" passed\n") and "on kubevirt, simulated" in run.stderr
        seen = json.loads((tmp_path / "seen/amd64/results.json").read_text())
        assert (seen["runner"], seen["simulated"]) == ("kubevirt", True)
        assert not (tmp_path / "seen/amd64/history").exists()
        (made,) = cluster.made
        assert made["spec"]["volumes"][0]["containerDisk"]["image"] == f"{address}/x/tiny@{seen['subject']}"
        assert cluster.objects == {}
        without = kmi(*words, KUBECONFIG=str(tmp_path / "none"))
        assert without.returncode == 2, without.stderr
    nobody_pulls = kmi("test", "tiny", "--on", "kubevirt")
    assert nobody_pulls.returncode == 2 and "a cluster pulls images from a registry" in nobody_pulls.stderr


def test_bytes_that_are_not_what_their_digest_says_are_never_booted(kmi: tiny.Kmi, tmp_path: Path) -> None:
    layout = stranger(kmi, tmp_path / "oci")
    largest = max((tmp_path / "oci/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    data[len(data) // 2] ^= 1
    largest.unlink()
    largest.write_bytes(bytes(data))
    assert hashlib.sha256(data).hexdigest() != largest.name
    run = kmi("test", layout, "--results", tmp_path / "seen")
    assert (run.returncode, run.stdout) == (4, "")
    assert not (tmp_path / "seen").exists()


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["nothing"], 2, "nothing"),
        (["tiny:2"], 2, "tiny:2"),
        (["tiny", "--arch", "arm64"], 2, "arm64"),
        (["tiny", "--user", "root"], 2, "says of itself"),
        (["oci:/nowhere"], 2, "not an OCI image layout"),
        (["registry.example.invalid/x:1@sha256:12"], 2, "not an image reference"),
        (["tiny", "--firmware", "open"], 2, "invalid choice"),
    ],
)
def test_bad_input_is_told(kmi: tiny.Kmi, words: list[str], status: int, told: str) -> None:
    run = kmi("test", *words)
    assert (run.returncode, run.stdout) == (status, ""), run.stderr
    assert told in run.stderr


def test_what_was_not_built_is_told_with_the_way_to_build_it(kmi: tiny.Kmi, tmp_path: Path) -> None:
    shutil.copytree(kmi.tiny.distros, tmp_path / "distros")
    (tmp_path / "distros/fresh.yaml").write_text(
        (kmi.tiny.distros / "tiny.yaml").read_text().replace("distro: tiny", "distro: fresh")
    )
    run = kmi("test", "fresh", "--distros", tmp_path / "distros")
    assert run.returncode == 2
    assert "`kmi build fresh` first" in run.stderr
