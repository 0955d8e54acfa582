"""``kmi build`` of systems that mean harm: a signed disk with a busybox whose package manager is the attacker's.

Each ends in an image whose labels and receipt carry no word of the guest that steers anything, or in a clear error with
its exit status; the terminal never gets a control character.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import tiny
from tests.fault_record import record, repeat
from tests.tiny import Kmi

SIZE = 48 << 20
STATUS = "Package: git\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"
TEXTS = {
    "etc/os-release": "ID=debian\nVERSION_ID=12\nNAME=Debian\n",
    "etc/fstab": "/dev/sda / ext4 defaults 0 1\n",
    "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
    "var/lib/dpkg/status": STATUS,
    "var/log/apt.log": "x",
    "lib/modules/6.1.0-1-amd64/modules.dep": "",
}
FOLDERS = ("bin", "dev", "proc", "sys", "tmp", "root", "usr/sbin")
TOOLS = ("cat", "dd", "mkdir", "printf", "sleep", "true", "yes")
RECIPE = {
    "customize": "full",
    "customize_reason": None,
    "packages": ["git"],
    "upgrade": "none",
    "virtual_size": "48MiB",
}
UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
BOUND = 240.0


@dataclass(frozen=True, kw_only=True)
class Case:
    """``apt`` is the attacker's package manager, a shell script; ``plant`` puts more into the tree; ``features`` are
    set by tune2fs. The run ends with ``status``, and its words contain ``told``."""

    status: int
    told: tuple[str, ...]
    apt: str = "true"
    plant: Callable[[Path], object] = lambda tree: None
    features: str = ""


def link(name: str, target: str) -> Callable[[Path], object]:
    def plant(tree: Path) -> None:
        if (tree / name).is_dir():
            shutil.rmtree(tree / name)
        (tree / name).symlink_to(target)

    return plant


def words(tree: Path) -> None:
    """Everything that a guest may say, where nobody has to refuse it."""
    (tree / "etc/os-release").write_bytes(b'ID=debian\nVERSION_ID=12\nNAME="\x1b]0;x\x07\xff\x9b2J"\nX="$(reboot)"\n')
    for name in ("6.1\n::error::x", "\x1b[2J", "a b", "\u202egpj", "$(reboot)"):
        (tree / "lib/modules" / name).mkdir()
    for name in ("usr/sbin/policy-rc.d", "etc/resolv.conf", "etc/machine-id"):
        (tree / name).symlink_to("../" * 9 + "etc/nowhere")
    (tree / "tmp/kmi-sources.list").symlink_to("/etc/passwd")


CASES = {
    "any bytes, names and links": Case(
        status=0, told=("1 packages",), plant=words,
        apt="printf '\\377\\376\\033[2J\\n::add-mask::x\\n\\303'; printf '\\244\\r\\n'; echo 'x' > /tmp/$$",
    ),
    "a full file system": Case(
        status=1, told=("a file system of the guest is full", "raise `room`", "No space left on device"),
        apt="dd if=/dev/zero of=/root/big bs=1M",
    ),
    "a root that can only be read": Case(
        status=1, told=("the root file system cannot be written", "customize: none"), features="read-only"
    ),
    "a folder of logs that leads to /etc": Case(
        status=1, told=("leads scrubbing astray", "/etc/"), plant=link("var/log", "/etc")
    ),
    "an fstab that climbs": Case(
        status=1, told=("the guest's fstab is absurd", "'/../../etc'"),
        plant=lambda tree: (tree / "etc/fstab").write_text("/dev/sda / ext4 d 0 1\n/dev/sda /../../etc ext4 d 0 0\n"),
    ),
    "no system at all": Case(
        status=1, told=("does not hold one operating system",), plant=lambda tree: shutil.rmtree(tree / "etc")
    ),
    "os-release with a line of 10 MB": Case(
        status=1, told=("kmi cannot install packages in this guest",),
        plant=lambda tree: (tree / "etc/os-release").write_text("NAME=" + "x" * (10 << 20) + "\nID=debian\n"),
    ),
    "a package manager that swaps os-release for a FIFO": Case(
        status=1, told=("a file of the guest cannot be read", "no regular file", "/etc/os-release"),
        apt="rm -f /etc/os-release; mkfifo /etc/os-release",
    ),
    "a database of 200,000 packages": Case(
        status=1, told=("the package database is absurdly large",),
        plant=lambda tree: (tree / "var/lib/dpkg/status").write_text((STATUS + "\n") * 200_000),
    ),
    "a package manager that never stops printing": Case(
        status=1, told=("the guest prints without end",), apt="yes '\033[2J'"
    ),
}  # fmt: skip
SAMPLE = ("any bytes, names and links", "a full file system", "a folder of logs that leads to /etc")


@pytest.fixture(scope="module")
def kmi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kmi]:
    folder = tmp_path_factory.mktemp("guests")
    (folder / "kmi").mkdir()
    up = tiny.make(folder / "upstream")
    with tiny.served(up.www) as mirrors:
        yield Kmi(folder=folder / "kmi", tiny=up, base=tiny.local_base(folder), mirrors=mirrors)


def disk(case: Case, folder: Path) -> bytes:
    tree, image = folder / "tree", folder / "disk.raw"
    for name in FOLDERS:
        (tree / name).mkdir(parents=True)
    for name, text in TEXTS.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    shutil.copy(shutil.which("busybox") or "busybox", tree / "bin/sh")
    for name in (*TOOLS, "rm", "mkfifo"):
        (tree / "bin" / name).symlink_to("sh")
    apt = tree / "bin/apt-get"
    apt.write_text(f'#!/bin/sh\ncase "$*" in *install*) ;; *) exit 0 ;; esac\n{case.apt}\n')
    apt.chmod(0o755)
    case.plant(tree)
    image.touch()
    os.truncate(image, SIZE)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tree), str(image)], check=True)
    if case.features:
        subprocess.run(["tune2fs", "-O", case.features, str(image)], check=True, stdout=subprocess.DEVNULL)
    return image.read_bytes()


@pytest.mark.parametrize("name", CASES if repeat() > 1 else SAMPLE)
def test_a_hostile_guest_is_contained(kmi: Kmi, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    distro = f"guest{list(CASES).index(name)}"
    kmi.tiny.publish(distro, disk(case, tmp_path), **RECIPE)
    kmi.tiny.manifests[distro].pop("customize_reason")
    kmi.tiny.save(distro)
    began = time.monotonic()
    ended = kmi("build", distro)
    seconds = time.monotonic() - began
    assert ended.returncode == case.status, ended.stderr
    assert [words for words in case.told if words not in ended.stderr] == [], ended.stderr
    assert seconds < BOUND
    assert not UNSAFE.search(ended.stderr.replace("\n", ""))
    assert "Traceback" not in ended.stderr
    if case.status == 0:
        harmless(kmi, distro)
    else:
        assert not (kmi.folder / f"build/{distro}-1-amd64/oci").exists()
    record("guest", name, result="an image whose labels are clean" if case.status == 0 else "clear error",
           exit=case.status, seconds=round(seconds, 1))  # fmt: skip


def harmless(kmi: Kmi, distro: str) -> None:
    """The image's labels and the receipt hold nothing that steers a terminal or a shell."""
    receipt = (kmi.folder / f"build/{distro}-1-amd64/receipt.json").read_text()
    stages = {stage["stage"]: stage for stage in json.loads(receipt)["stages"]}
    inventory = stages["customize"]["outputs"]["inventory"]
    assert inventory["kernels"] == ["6.1.0-1-amd64"]
    assert [package["name"] for package in inventory["packages"]] == ["git"]
    assert stages["wrap"]["outputs"]["metadata"]["kernel"] == "6.1.0-1-amd64"
    assert not UNSAFE.search(receipt.replace("\n", ""))
