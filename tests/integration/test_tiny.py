"""A disk that is taken as it is (``customize: none``) goes the whole way, and nothing claims to know what is in it."""

from __future__ import annotations

import json
import re

import pytest

from kmi.pipeline.results.statement import SKIPPED
from tests import tiny
from tests.registry import registry


def attested(kmi: tiny.Kmi, reference: str, result: str) -> dict[str, list[str]]:
    """The signed test result names every check of the last run that passed, failed or was skipped; returns them."""
    done = kmi("verify", reference, "--key", kmi.public, "--json")
    assert done.returncode == 0, done.stderr
    (predicate,) = json.loads(done.stdout)["test_results"]["amd64"]["predicates"]
    receipt = json.loads((kmi.folder / "build/tiny-1-amd64/receipt.json").read_text())
    (report,) = [stage["outputs"]["report"] for stage in receipt["stages"] if stage["stage"] == "test"]
    named = {
        outcome: [f"{row['machine']} {row['check']}" for row in report["results"] if row["outcome"] == outcome]
        for outcome in ("passed", "failed", "skipped")
    }
    assert predicate["result"] == result
    assert (predicate["passedTests"], predicate["warnedTests"]) == (named["passed"], named["failed"])
    assert (predicate["failedTests"], predicate[SKIPPED]) == ([], named["skipped"])
    assert f"  test-result  amd64  {result}" in done.stderr
    assert all(f"    warned  {name}\n" in done.stderr for name in named["failed"])
    return named


def test_a_preview_is_published_with_what_failed_and_says_so(tmp_path):
    (tmp_path / "registry").mkdir()
    (tmp_path / "kmi").mkdir()
    up = tiny.make(tmp_path / "upstream")
    up.publish("tiny", bytes(1 << 20))
    with tiny.served(up.www) as mirrors, registry(tmp_path / "registry") as address:
        kmi = tiny.Kmi(folder=tmp_path / "kmi", tiny=up, base=tiny.local_base(tmp_path), mirrors=mirrors)
        run = kmi("run", "tiny", "--to", f"{address}/x")
        assert run.returncode == 0, run.stderr
        assert "login-prompt on amd64/bios failed (advisory)" in run.stderr
        assert attested(kmi, run.stdout.strip(), "WARNED")["failed"] == ["amd64/bios login-prompt"]


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_an_untouched_disk_is_built_published_and_reused(tmp_path, form):
    (tmp_path / "registry").mkdir()
    (tmp_path / "kmi").mkdir()
    up = tiny.make(tmp_path / "upstream")
    if form == "qcow2":
        up.manifests["tiny"]["cloud_image"]["format"] = "qcow2"
        up.publish("tiny", tiny.as_qcow2(up.disk()), cloud_image=up.manifests["tiny"]["cloud_image"])
    with tiny.served(up.www) as mirrors, registry(tmp_path / "registry") as address:
        kmi = tiny.Kmi(folder=tmp_path / "kmi", tiny=up, base=tiny.local_base(tmp_path), mirrors=mirrors)
        first = kmi("run", "tiny", "--to", f"{address}/x")
        assert first.returncode == 0, first.stderr
        again = kmi("run", "tiny", "--to", f"{address}/x")
        assert (again.returncode, again.stdout) == (0, first.stdout)
        assert re.search(r"✓ amd64/bios +login-prompt ", first.stderr)
        assert "left out: a boot sector has no file system" in first.stderr
        seen = attested(kmi, first.stdout.strip(), "PASSED")
        assert seen["passed"] == ["amd64/bios login-prompt", "amd64/bios acpi-shutdown"] and not seen["failed"]
        receipt = json.loads((kmi.folder / "build/tiny-1-amd64/receipt.json").read_text())
        stages = {stage["stage"]: stage for stage in receipt["stages"]}
        assert stages["wrap"]["outputs"]["metadata"]["customizer"] == "none"
        assert stages["wrap"]["outputs"]["metadata"]["packages"] == ""
        assert all(stages[name]["reused"] for name in ("fetch", "finish", "wrap", "index", "test", "sign", "tag"))
        assert stages["finish"]["outputs"]["virtual_size"] == 2 << 20
        (shown,) = json.loads(kmi("show", "--criteria", "tiny", "--json").stdout)
        standings = {finding["criterion"]: finding["standing"] for finding in shown["criteria"]}
        assert {name for name, standing in standings.items() if standing == "met"} >= {
            "checksum", "pulled", "licence", "signature", "qcow2", "registry-size", "entrypoint", "trust", "additions",
        }  # fmt: skip
        assert (standings["baseline-boot"], standings["cloud-init"]) == ("not met", "not met")
        assert "not seen yet" not in standings.values()
