"""The main job as its user sees it: what it prints, what it leaves, what a stranger can verify."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from kmi.model.checks import due
from tests import living
from tests.e2e.conftest import EXCUSES, ROOT, Run


def test_stdout_is_the_reference_alone(bootstrapped: Run) -> None:
    assert re.fullmatch(r"127\.0\.0\.1:5050/kmi/debian@sha256:[0-9a-f]{64}\n", bootstrapped.stdout)


def test_stderr_tells_what_happened_and_where_to_go_on(bootstrapped: Run) -> None:
    for word in ("bootstrap", "customize", "finish", "wrap", "push", "test", "sign", "tag", "vm.yaml", "receipt.json"):
        assert word in bootstrapped.stderr
    assert re.search(r"✓ debian-12-amd64 +customize +[0-9.]+ ", bootstrapped.stderr)


def test_both_firmwares_booted_what_the_registry_gave_back(bootstrapped: Run) -> None:
    stages = bootstrapped.receipt["stages"]
    (test,) = (stage for stage in stages if stage["stage"] == "test")
    wrapped = next(stage for stage in stages if stage["stage"] == "wrap")["outputs"]["digest"]
    assert test["inputs"]["image"] == wrapped == test["outputs"]["report"]["subject"]


def test_every_check_that_is_due_was_made_and_passed(bootstrapped: Run) -> None:
    machines = ("amd64/bios", "amd64/uefi", "amd64/bios/no-seed", "amd64")
    results = bootstrapped.tested
    assert list(results) == [(machine, check) for machine in machines for check in due(machine)]
    for (machine, check), result in results.items():
        excused = result["outcome"] == "skipped" and EXCUSES.get(check, "no excuse") in result["detail"]
        assert result["outcome"] == "passed" or excused, (machine, result)


def test_the_printed_verify_command_works(bootstrapped: Run) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(["sh", bootstrapped.output / "verify.sh"], capture_output=True, text=True, env=environ)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == bootstrapped.reference


def test_a_stranger_verifies_with_the_reference_and_the_key(bootstrapped: Run, tmp_path: Path) -> None:
    """Another process with an empty home and cache, while the registry is up for everybody."""
    public = tmp_path / "cosign.pub"
    public.write_bytes(bootstrapped.kmi.public.read_bytes())
    registry = subprocess.Popen(
        [*living.OBEDIENT, *bootstrapped.kmi.argv("registry")], cwd=bootstrapped.kmi.folder, stderr=subprocess.PIPE,
        env={**bootstrapped.kmi.environ, "PYTHONPATH": str(ROOT)}, text=True,
    )  # fmt: skip
    try:
        assert registry.stderr
        assert "127.0.0.1:5050" in registry.stderr.readline()
        empty = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "nobody"), "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, "-m", "kmi", "verify", bootstrapped.reference, "--key", str(public)]
        result = subprocess.run(argv, capture_output=True, text=True, env=empty, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert result.stdout.strip() == bootstrapped.reference
    finally:
        registry.send_signal(2)
        registry.communicate(timeout=30)
    assert registry.returncode == 0


def test_the_tags_name_the_index(bootstrapped: Run) -> None:
    immutable, *moving = bootstrapped.receipt["result"]["tags"]
    assert re.fullmatch(r"12-\d{8}-1", immutable)
    assert moving == ["12", "bookworm", "latest"]
    repository = bootstrapped.reference.partition("@")[0]
    result = bootstrapped.kmi("verify", f"{repository}:12", "--key", bootstrapped.kmi.public)
    assert result.stdout.strip() == bootstrapped.reference


def test_the_image_keeps_the_contract(bootstrapped: Run) -> None:
    result = bootstrapped.kmi("inspect", bootstrapped.output / "oci", "--lint")
    assert "violation" not in result.stdout.lower(), result.stdout
    assert "GHCR" in result.stdout
    assert "Quay" in result.stdout
    assert "Docker Hub" in result.stdout


def test_inspect_shows_every_field(bootstrapped: Run) -> None:
    shown = json.loads(bootstrapped.kmi("inspect", bootstrapped.reference, "--json").stdout)
    text = json.dumps(shown)
    for word in ("debian", "bookworm", "apt:", "kmi 0.1.0", "qemu-guest-agent", "cloud-init"):
        assert word in text


def test_vm_is_pinned_by_digest_also_from_a_tag(bootstrapped: Run) -> None:
    repository = bootstrapped.reference.partition("@")[0]
    for words in ([bootstrapped.reference], [f"{repository}:12"], [f"{repository}:12", "--full"]):
        text = bootstrapped.kmi("vm", *words).stdout
        machine = next(d for d in yaml.safe_load_all(text) if d["kind"] == "VirtualMachine")
        volumes = machine["spec"]["template"]["spec"]["volumes"]
        (image,) = (volume["containerDisk"]["image"] for volume in volumes if "containerDisk" in volume)
        assert image == bootstrapped.reference
    left = yaml.safe_load((bootstrapped.output / "vm.yaml").read_text())
    assert left["spec"]["preference"] == {"name": "debian"}


def test_an_unchanged_build_reuses_everything(bootstrapped: Run, base: Path) -> None:
    first = bootstrapped.kmi(
        "build", "debian:12", "--source", "bootstrap", "--base", base, "--distros", ROOT / "distros"
    )
    receipt = json.loads((bootstrapped.output / "receipt.json").read_text())
    assert {stage["stage"]: stage["reused"] for stage in receipt["stages"]} == {
        "bootstrap": True, "customize": True, "finish": True, "wrap": True, "index": True,
    }  # fmt: skip
    assert first.stdout.strip() == bootstrapped.reference.partition("@")[2]
    for stage in ("bootstrap", "customize", "finish", "wrap"):
        assert re.search(rf"= debian-12-amd64 +{stage} +reused", first.stderr), first.stderr


def test_nothing_is_left_running(bootstrapped: Run) -> None:
    """No process of the run outlives it. (Each carries the run's folder in its command line.)"""
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert [line for line in listing.splitlines() if str(bootstrapped.kmi.cache) in line] == []
