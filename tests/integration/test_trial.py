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
import yaml

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


def test_what_an_image_says_of_itself_puts_it_in_no_history_but_its_own(kmi: tiny.Kmi, tmp_path: Path) -> None:
    """Its labels say that it is the catalogue's tiny; so could anybody's."""
    shutil.copytree(kmi.folder / "build/tiny-1-amd64/oci", tmp_path / "oci")
    history = kmi.folder / "build/tiny-1-amd64/test/amd64/history"
    before = set(history.iterdir()) if history.exists() else set()
    run = kmi("test", tmp_path / "oci")
    assert run.returncode == 0, run.stderr
    name, digest, _ = run.stdout.split()
    assert name == f"{digest.removeprefix('sha256:')[:12]}-amd64"
    assert (kmi.folder / "build" / name / "test/amd64/results.json").exists()
    assert (set(history.iterdir()) if history.exists() else set()) == before


def test_an_image_needs_no_catalogue(kmi: tiny.Kmi, tmp_path: Path) -> None:
    run = kmi("test", kmi.folder / "build/tiny-1-amd64/oci", "--distros", tmp_path / "none")
    assert run.returncode == 0, run.stderr
    assert "not in the catalogue" in run.stderr
    assert kmi("test", "tiny", "--distros", tmp_path / "none").returncode == 2


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
        (["tiny", "--namespace", "x", "--pull-secret", "y"], 2, "--namespace, --pull-secret: no cluster is asked for"),
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


def test_several_images_of_one_architecture_are_kept_apart(kmi: tiny.Kmi, tmp_path: Path) -> None:
    run = kmi("test", "*", "--results", tmp_path)
    assert run.returncode == 0, run.stderr
    told = dict(line.split()[:2] for line in run.stdout.splitlines())
    assert set(told) == {"dead-1-amd64", "tiny-1-amd64"}
    for name, digest in told.items():
        assert json.loads((tmp_path / name / "amd64/results.json").read_text())["subject"] == digest


def relisted(kmi: tiny.Kmi, folder: Path, *changes: dict[str, Any]) -> Path:
    """The layout of the last build, its index listing the image once for each of ``changes`` to the descriptor; a
    change of ``Labels`` makes it another image."""
    shutil.copytree(kmi.folder / "build/tiny-1-amd64/oci", folder)
    layout = Layout.open(folder)
    index = layout.read_json(layout.roots()[0].digest)
    (listed,) = index["manifests"]
    entries = []
    for change in changes:
        entry = dict(listed)
        if labels := change.get("Labels"):
            manifest = layout.read_json(source_digest(listed))
            config = layout.read_json(source_digest(manifest["config"]))
            config["config"]["Labels"] |= labels
            manifest["config"] = layout.add_json(manifest["config"]["mediaType"], config).to_json()
            made = layout.add_json(listed["mediaType"], manifest).to_json()
            entry |= {"digest": made["digest"], "size": made["size"]}
        entries.append(entry | {name: value for name, value in change.items() if name != "Labels"})
    layout.set_roots((layout.add_json(index["mediaType"], {**index, "manifests": entries}),))
    return folder


def test_an_image_that_is_listed_twice_boots_once(kmi: tiny.Kmi, tmp_path: Path) -> None:
    run = kmi("test", relisted(kmi, tmp_path / "oci", {}, {}), "--arch", "all", "--results", tmp_path / "seen")
    assert run.returncode == 0, run.stderr
    assert len(run.stdout.splitlines()) == 1
    assert (tmp_path / "seen/amd64/results.json").is_file()


def test_two_images_that_say_the_same_of_themselves_are_kept_apart(kmi: tiny.Kmi, tmp_path: Path) -> None:
    layout = relisted(kmi, tmp_path / "oci", {}, {"Labels": {"some": "thing"}})
    run = kmi("test", layout, "--results", tmp_path / "seen")
    assert run.returncode == 0, run.stderr
    names = [line.split()[0] for line in run.stdout.splitlines()]
    assert len(set(names)) == 2
    assert all((tmp_path / "seen" / name / "amd64/results.json").is_file() for name in names)


@pytest.mark.parametrize("words", [[], ["--arch", "all"]])
def test_a_layout_of_attestations_alone_is_no_success(kmi: tiny.Kmi, tmp_path: Path, words: list[str]) -> None:
    layout = relisted(kmi, tmp_path / "oci", {"platform": {"os": "unknown", "architecture": "unknown"}})
    run = kmi("test", layout, *words)
    assert (run.returncode, run.stdout) == (2, ""), run.stderr
    assert "the layout holds no image" in run.stderr


def test_firmware_that_is_named_twice_boots_once(kmi: tiny.Kmi, tmp_path: Path) -> None:
    layout = relisted(kmi, tmp_path / "oci", {"Labels": {"dev.kmi.firmware": "bios bios"}})
    for words in ([layout], ["tiny", "--firmware", "bios", "--firmware", "bios"]):
        run = kmi("test", *words, "--results", tmp_path / "seen")
        assert run.returncode == 0, run.stderr
        assert run.stderr.count("login-prompt ") == 1


def test_a_label_is_one_short_line_of_a_message(kmi: tiny.Kmi, tmp_path: Path) -> None:
    title = "Tiny\n::error::pwned \x1b[2J" + 100_000 * "x"
    layout = relisted(kmi, tmp_path / "oci", {"Labels": {"org.opencontainers.image.title": title}})
    run = kmi("test", layout, "--user", "root", GITHUB_ACTIONS="true")
    assert run.returncode == 2
    assert "Tiny ::error::pwned" in run.stderr and "\x1b" not in run.stderr
    assert len(run.stderr) < 2000


def test_results_that_cannot_be_kept_are_told_before_a_boot(kmi: tiny.Kmi, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = kmi("test", "tiny", "--results", tmp_path / "file")
    assert run.returncode == 7, run.stderr
    assert "a file stands where a folder belongs" in run.stderr and "emulated" not in run.stderr


def test_what_blocks_because_it_was_not_made_is_in_the_table(kmi: tiny.Kmi, tmp_path: Path) -> None:
    run = kmi("test", "*", "--tier", "proposed", "--results", tmp_path)
    assert run.returncode == 5, run.stderr
    blocks = [line.split()[1:3] for line in run.stderr.splitlines() if line.startswith("  blocks ")]
    assert blocks.count(["amd64/bios", "guest-agent"]) == 2  # of the second image as well, which no error tells of


def test_a_waiver_that_has_ended_is_in_the_table(kmi: tiny.Kmi, tmp_path: Path) -> None:
    shutil.copytree(kmi.tiny.distros, tmp_path / "distros")
    told = {}
    for until in ("2020-01-01", "2999-01-01"):
        waiver = {"criterion": "cloud-init", "reason": "A boot sector reads no seed.", "until": until}
        manifest = {**kmi.tiny.manifests["tiny"]}
        manifest["releases"] = [{**manifest["releases"][0], "waivers": [waiver]}]
        (tmp_path / "distros/tiny.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
        words = ("--distros", tmp_path / "distros", "--tier", "proposed", "--results", tmp_path / until)
        run = kmi("test", "tiny", *words)
        assert run.returncode == 5, run.stderr
        blocks = [line for line in run.stderr.splitlines() if line.startswith("  blocks ")]
        told[until] = [line.partition("(")[2] for line in blocks if "cloud-init " in line]
    assert told == {"2020-01-01": ["the waiver ended on 2020-01-01)"], "2999-01-01": []}
