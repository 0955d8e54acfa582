"""``kmi vm`` and ``kmi list`` as a user calls them, the former against a real registry."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from kmi.host.run import run
from kmi.model import metadata
from kmi.model.digest import Digest
from kmi.oci.layout import CONFIG, INDEX, LAYER, MANIFEST, Descriptor, Layout
from tests.registry import registry

ROOT = Path(__file__).parents[2]


def kmi(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "kmi", *words], capture_output=True, text=True, cwd=cwd, timeout=60)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def image(layout: Layout, arch: str, labels: dict[str, str]) -> Descriptor:
    layer = layout.add_bytes(LAYER, b"layer of " + arch.encode())
    rootfs = {"type": "layers", "diff_ids": [str(layer.digest)]}
    settings = {"architecture": arch, "os": "linux", "config": {"Labels": labels}, "rootfs": rootfs}
    config = layout.add_json(CONFIG, settings)
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.to_json(), "layers": [layer.to_json()]}
    return layout.add_json(MANIFEST, manifest)


def push(host: str, layout: Layout, root: Descriptor, name: str) -> Digest:
    layout.set_roots((root,))
    target = f"docker://{host}/{name}"
    run(
        ["skopeo", "copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false", f"oci:{layout.root}", target]
    )
    return root.digest


def labels(arch: str, firmware: str) -> dict[str, str]:
    values = {name.replace("-", "_"): "" for name in metadata.BY_NAME}
    told = {"distro": "debian", "release": "12", "architecture": arch, "firmware": firmware, "user": "debian"}
    told |= {"init": "cloud-init", "agent": "installed", "preference": f"linux.{arch}", "instancetype": "u1.small"}
    return metadata.labels(metadata.record(**(values | told)))


@pytest.fixture(scope="module")
def debian(host: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Digest]:
    """An index of two architectures under a tag: the repository and its digest."""
    layout = Layout.create(tmp_path_factory.mktemp("debian") / "oci")
    children = [("arm64", image(layout, "arm64", labels("arm64", "uefi")))]
    children += [("amd64", image(layout, "amd64", labels("amd64", "bios uefi")))]
    entries = [{**child.to_json(), "platform": {"architecture": arch, "os": "linux"}} for arch, child in children]
    root = layout.add_json(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    return f"{host}/kmi/debian", push(host, layout, root, "kmi/debian:12")


def preference(text: str) -> str:
    found: str = list(yaml.safe_load_all(text))[-1]["spec"]["preference"]["name"]
    return found


def test_a_tag_becomes_a_digest(debian: tuple[str, Digest]) -> None:
    repository, digest = debian
    done = kmi("vm", f"{repository}:12")
    assert done.returncode == 0, done.stderr
    (machine,) = yaml.safe_load_all(done.stdout)
    volumes = machine["spec"]["template"]["spec"]["volumes"]
    assert volumes[0]["containerDisk"]["image"] == f"{repository}@{digest}"
    assert preference(done.stdout) == "linux.amd64", "amd64 unless told otherwise"
    assert done.stderr == ""


def test_the_metadata_is_the_architectures_own(debian: tuple[str, Digest]) -> None:
    repository, digest = debian
    done = kmi("vm", f"{repository}@{digest}", "--full", "--name", "web", "--arch", "arm64")
    secret, machine = yaml.safe_load_all(done.stdout)
    spec = machine["spec"]["template"]["spec"]
    assert spec["architecture"] == "arm64"
    assert spec["domain"]["firmware"] == {"bootloader": {"efi": {"secureBoot": False}}}
    assert spec["accessCredentials"][0]["sshPublicKey"]["source"]["secret"]["secretName"] == secret["metadata"]["name"]
    assert machine["metadata"]["name"] == "web"


def test_an_architecture_that_is_not_there(debian: tuple[str, Digest]) -> None:
    done = kmi("vm", f"{debian[0]}:12", "--arch", "s390x")
    assert (done.returncode, done.stdout) == (2, "")
    assert "arm64, amd64" in done.stderr


def test_the_only_architecture_is_taken(host: str, tmp_path: Path) -> None:
    layout = Layout.create(tmp_path / "oci")
    push(host, layout, image(layout, "arm64", labels("arm64", "uefi")), "kmi/single:1")
    assert preference(kmi("vm", f"{host}/kmi/single:1").stdout) == "linux.arm64"
    assert kmi("vm", f"{host}/kmi/single:1", "--arch", "amd64").returncode == 2


def test_an_image_of_somebody_else_is_refused(host: str, tmp_path: Path) -> None:
    layout = Layout.create(tmp_path / "oci")
    push(host, layout, image(layout, "amd64", {"maintainer": "x"}), "other/image:1")
    done = kmi("vm", f"{host}/other/image:1")
    assert (done.returncode, done.stdout) == (4, "")
    assert "does not say what it is" in done.stderr


def test_an_image_that_is_not_there(host: str) -> None:
    assert kmi("vm", f"{host}/kmi/none:1").returncode == 6


def test_the_list_for_people_and_for_machines() -> None:
    table = kmi("list", "debian:12").stdout.splitlines()
    assert table[0].split()[:5] == ["distro", "release", "tier", "amd64", "arm64"]
    assert table[1].split()[:5] == ["debian", "12*", "proposed", "✓", "✓"]
    rows = json.loads(kmi("list", "--json", "debian:12").stdout)
    assert [row["id"] for row in rows] == ["debian-12-amd64", "debian-12-arm64"]
    assert rows[0]["packages"][-1] == "qemu-guest-agent"
    rows = json.loads(kmi("list", "--json", "debian:12", "--arch", "arm64").stdout)
    assert [row["id"] for row in rows] == ["debian-12-arm64"]


def test_a_bad_manifest_ends_in_two(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text("distro: acme\ncolour: red\n")
    done = kmi("list", "--distros", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "acme.yaml:2: colour: unknown key" in done.stderr
    assert "acme.yaml:1: releases: missing" in done.stderr
    done = kmi("list", "debain")
    assert done.returncode == 2
    assert "did you mean debian?" in done.stderr
