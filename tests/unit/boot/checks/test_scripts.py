"""The checks' scripts as real shells take them: dash, bash as POSIX has it, and busybox."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kmi.boot.checks import names, network, outward, packages, root_disk, running, security, spare_disk, units
from kmi.boot.checks.linux import Facts, script
from kmi.boot.outside import Outside

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
PACKAGE = {"package": "dash", "seconds": 20, "programs": 6}
HARMLESS = {
    "sizes": root_disk._SIZES, "network": network._SCRIPT, "name servers": names._SERVERS,
    "resolve": names._RESOLVE % "localhost", "packages": packages._SCRIPT % PACKAGE, "security": security._SCRIPT,
    "units": units._SCRIPT, "time": running._TIME, "use": running._USE,
}  # fmt: skip
"""Those that only look. What they see on this machine is its own affair."""
SCRIPTS = {
    **HARMLESS, "fstrim": root_disk._FSTRIM, "spare disk": spare_disk._SCRIPT,
    "fetch": outward._FETCH % {"host": "127.0.0.1", "port": 1},
}  # fmt: skip


def shell(name: str, text: str, *words: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    program = shutil.which(SHELLS[name][0])
    assert program, f"{name} is not installed"
    argv = [program, *SHELLS[name][1:], *words]
    return subprocess.run(argv, input=text, capture_output=True, text=True, env={"PATH": path}, timeout=60)


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize("what", SCRIPTS)
def test_every_shell_understands_every_script(name, what):
    found = shell(name, script(SCRIPTS[what]), "-n")
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize("what", HARMLESS)
def test_what_looks_ends_well_and_prints_facts(name, what):
    found = shell(name, script(HARMLESS[what]), "-s")
    assert found.returncode == 0
    assert "syntax" not in found.stderr.lower() and ": not found" not in found.stderr
    assert all("=" in line for line in found.stdout.splitlines())


@pytest.mark.parametrize("name", SHELLS)
def test_a_program_that_reads_its_input_leaves_the_script_alone(name):
    assert shell(name, script("cat; echo a=1\ncat; echo b=2") + "echo c=3\n", "-s").stdout == "a=1\nb=2\nc=3\n"


def test_this_machine_tells_what_its_kernel_tells():
    facts = Facts.of(shell("dash", script(running._USE), "-s").stdout)
    total = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in line)
    assert facts.number("MemTotal") == total


def only(folder: Path, *programs: str) -> str:
    """A PATH with nothing but ``programs`` and what every guest has."""
    for name in ("sh", "sed", "cat", "head", "tail", *programs):
        found = sys.executable if name == "python3" else shutil.which(name)
        assert found, f"{name} is not installed"
        (folder / name).write_text(f'#!/bin/sh\nexec {found} "$@"\n')
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("program", ["python3", "bash"])
def test_each_program_fetches_what_the_server_has(tmp_path, program):
    with Outside("5ec2e7") as server:
        for family in server.families:
            host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
            body = outward._FETCH % {"host": host, "port": server.port}
            (folder := tmp_path / str(family)).mkdir()
            found = shell("dash", body, "-s", path=only(folder, program))
            seen = outward.judge(Facts.of(found.stdout), "5ec2e7", "here")
            assert seen == f"{program} fetched from here"


def test_busybox_fetches_what_the_server_has(tmp_path):
    (tmp_path / "nc").symlink_to(shutil.which("busybox") or "busybox is not installed")
    with Outside("5ec2e7") as server:
        body = outward._FETCH % {"host": "127.0.0.1", "port": server.port}
        found = shell("dash", body, "-s", path=only(tmp_path))
    assert outward.judge(Facts.of(found.stdout), "5ec2e7", "here") == "nc fetched from here"
