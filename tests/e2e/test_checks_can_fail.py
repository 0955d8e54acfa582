"""Every check of a boot reports a fault that is there, and no other check does.

The healthy image is broken on purpose (``tests.e2e.broken``). ``make test`` boots five disks, each with several faults
that do not touch each other; ``make test-all`` boots one disk for each fault as well.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmi.boot.checks import identity
from kmi.host.store import Store
from kmi.model import checks
from kmi.model.checks import DNS, IDENTITY
from kmi.model.metadata import Metadata
from kmi.model.stages import CheckResult, Outcome
from kmi.pipeline.join import found
from tests.e2e.boots import Booted, booted
from tests.e2e.broken import ALONE, FAULTS, TOGETHER, Broken, broken_copy
from tests.e2e.conftest import ROOT, Kmi, Run
from tests.fault_record import record
from tests.resolver import resolver
from tests.wrapping import base_of, wrapped

AT_ONCE = 3
"""Boots side by side: a guest that is waited for, as half of them are, leaves the processors to the others."""


@dataclass(frozen=True, kw_only=True)
class Healthy:
    """The image that is broken: its disk, raw, and what it says of itself."""

    raw: Path
    metadata: Metadata


@pytest.fixture(scope="module")
def healthy(bootstrapped: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Healthy]:
    raw = tmp_path_factory.mktemp("healthy") / "disk.raw"
    disk = bootstrapped.stage("finish") / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, raw], check=True)
    (image,) = found([bootstrapped.output / "oci"])
    yield Healthy(raw=raw, metadata=image.metadata)
    raw.unlink()


@pytest.fixture(scope="module")
def names() -> Iterator[list[bytes]]:
    """A name server on this host; the list has its queries."""
    with resolver() as seen:
        yield seen


def tried(healthy: Healthy, broken: Broken, folder: Path) -> tuple[Booted, ...]:
    raw = broken_copy(healthy.raw, broken.faults, folder)
    try:
        return booted(raw, broken.seeds, metadata=healthy.metadata, folder=folder)
    finally:
        raw.unlink()


@pytest.fixture(scope="module")
def together(
    healthy: Healthy, names: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Booted, ...]]:
    """What the boots of the broken disks said, by the disk's name."""
    folders = [tmp_path_factory.mktemp(broken.name) for broken in TOGETHER]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        seen = pool.map(tried, [healthy] * len(TOGETHER), TOGETHER, folders)
        return {broken.name: boots for broken, boots in zip(TOGETHER, seen, strict=True)}


def outcomes(results: tuple[CheckResult, ...]) -> dict[str, Outcome]:
    return {result.check: result.outcome for result in results}


def agree(broken: Broken, boots: tuple[Booted, ...]) -> None:
    """Exactly the checks that the faults are for have failed; what depends on them, as the table says."""
    for boot in boots:
        told = "\n".join(f"{one.check} {one.outcome}: {one.detail}" for one in boot.results)
        assert outcomes(boot.results) == broken.expected(boot.machine), f"{broken.name} on {boot.machine}\n{told}"
        details = {result.check: result.detail for result in boot.results}
        for fault in broken.faults:
            if fault.check in details:
                assert re.search(fault.says, details[fault.check]), f"{fault.name}: {details[fault.check]}"
    for fault in broken.faults:
        record("boot", fault.name, result=f"{fault.check} failed", disk=broken.name)


def compared(boots: tuple[Booted, ...]) -> CheckResult:
    return identity.compare("amd64", [boot.identity for boot in boots if boot.identity])


def test_there_is_a_fault_for_every_check() -> None:
    assert {fault.check for fault in FAULTS} == set(checks.CHECKS)
    assert {fault.check for broken in TOGETHER for fault in broken.faults} == set(checks.CHECKS)
    assert sum(len(broken.seeds) for broken in TOGETHER) <= 5
    kinds = {False: checks.Round.UNSEEDED, True: checks.Round.SEEDED}
    for fault in FAULTS:
        due = {kinds[bool(seed)] for seed in fault.seeds}
        assert fault.check == IDENTITY or due <= set(checks.CHECKS[fault.check].rounds), fault.name


@pytest.mark.parametrize("broken", TOGETHER, ids=lambda broken: broken.name)
def test_a_boot_reports_its_faults_and_nothing_else(broken: Broken, together: dict[str, tuple[Booted, ...]]) -> None:
    agree(broken, together[broken.name])


def test_what_is_baked_in_is_the_same_on_two_boots(together: dict[str, tuple[Booted, ...]]) -> None:
    same = compared((*together["many"], *together["no-seed"]))
    assert same.outcome is Outcome.FAILED
    assert all(re.search(fault.says, same.detail) for fault in FAULTS if fault.check == IDENTITY), same.detail


def test_what_is_not_baked_in_differs(together: dict[str, tuple[Booted, ...]]) -> None:
    differs = compared((*together["agent-masked"], *together["no-seed"]))
    assert differs.outcome is Outcome.PASSED, differs.detail


def test_a_name_was_really_asked_for(together: dict[str, tuple[Booted, ...]], names: list[bytes]) -> None:
    (boot,) = together["agent-masked"]
    assert outcomes(boot.results)[DNS] is Outcome.PASSED
    assert any(b"\5cloud\6debian\3org\0" in query for query in names)


def test_a_disk_with_a_backing_file_is_refused_before_any_boot(base: Path, tmp_path: Path) -> None:
    kmi = Kmi(folder=tmp_path)
    secret, disk = tmp_path / "secret.raw", tmp_path / "disk.qcow2"
    secret.write_bytes(bytes(1 << 20))
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, disk], check=True)
    image = wrapped(disk, base_of(base, Store(kmi.cache)), tmp_path / "oci")
    result = kmi("test", image.layout, "--distros", ROOT / "distros", check=False)
    assert result.returncode == 4, result.stderr
    assert "backing file" in result.stderr
    assert not list(tmp_path.rglob("console-*.log"))


@pytest.mark.parametrize("broken", ALONE, ids=lambda broken: broken.name)
def test_each_fault_alone(
    broken: Broken, each_alone: None, healthy: Healthy, names: list[bytes], tmp_path: Path
) -> None:
    boots = tried(healthy, broken, tmp_path)
    agree(broken, boots)
    for fault in (one for one in broken.faults if one.check == IDENTITY):
        same = compared(boots)
        assert same.outcome is Outcome.FAILED and re.search(fault.says, same.detail), same
