"""Guests of other families in the real appliance: what libguestfs finds in them, and which commands kmi gives.

Their package managers are simulated: scripts that write down what they are asked (no archive of theirs is in reach).
The databases are of the form of apk-tools 2 (/lib/apk/db/installed) and of pacman 6 (/var/lib/pacman/local).
"""

from __future__ import annotations

import io
import os
import platform
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmi.guest import customize as guests
from kmi.guest.archives import Archives
from kmi.guest.mounts import mount
from kmi.host.accel import probe
from kmi.host.guestfs import Appliance, appliance
from kmi.host.ui import Reporter, Step
from kmi.model.platform import Arch
from kmi.model.spec import BuildArchives, Recipe
from kmi.model.stages import Inventory

DISK = "/dev/sda"
LOG = "/var/asked"
TOOL = f'#!/bin/sh\necho "${{0##*/}} $*" >> {LOG}\n'
APK_DB = "C:Q1abc=\nP:musl\nV:1.2.5-r10\nA:x86_64\no:musl\n\nC:Q1def=\nP:git\nV:2.51.0-r0\nA:x86_64\no:git\n\n"
PACMAN_DB = "%NAME%\n\n{0}\n\n%VERSION%\n\n{1}\n\n%ARCH%\n\nx86_64\n\n".replace("\n\n{", "\n{").replace("%\n\n", "%\n")
GUESTS = {
    "apk": {
        "/etc/alpine-release": "3.24.2\n",
        "/etc/os-release": 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.24.2\nPRETTY_NAME="Alpine Linux v3.24"\n',
        "/lib/apk/db/installed": APK_DB,
        "/var/cache/apk/APKINDEX.f00dcafe.tar.gz": "index",
        "/sbin/apk": TOOL,
        "/sbin/rc-update": TOOL,
    },
    "pacman": {
        "/etc/arch-release": "",
        "/etc/os-release": 'NAME="Arch Linux"\nID=arch\nPRETTY_NAME="Arch Linux"\n',
        "/var/lib/pacman/local/ALPM_DB_VERSION": "9\n",
        "/var/lib/pacman/local/git-2.51.0-1/desc": PACMAN_DB.format("git", "2.51.0-1"),
        "/var/lib/pacman/local/shadow-1:4.18-2/desc": PACMAN_DB.format("shadow", "1:4.18-2"),
        "/var/lib/pacman/sync/core.db": "index",
        **{f"/usr/bin/{name}": TOOL for name in ("pacman", "pacman-key", "gpgconf", "systemctl")},
        "/etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=targeted\n",
    },
}
BASE = {"/etc/passwd": "root:x:0:0::/root:/bin/sh\n", "/etc/fstab": f"{DISK} / ext4 defaults 0 1\n"}
FOLDERS = ("/bin", "/tmp", "/var/log", "/dev", "/proc", "/sys", "/root", "/home", "/usr/lib", "/etc/ssh")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    folder = tmp_path_factory.mktemp("other")
    disk = folder / "disk.raw"
    disk.touch()
    os.truncate(disk, 64 << 20)
    acceleration = probe(Arch.of_machine(platform.machine()), folder / "cache")
    with appliance([disk], acceleration=acceleration, cache=folder / "cache", log=folder / "log") as guest:
        yield guest


def applied(guest: Appliance, tree: dict[str, str], recipe: Recipe, folder: Path) -> Inventory:
    """A fresh guest of this tree, with the recipe done to it; it stays mounted."""
    guest.umount_all()
    guest.mkfs("ext4", DISK)
    guest.mount(DISK, "/")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in FOLDERS:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name, text in {**BASE, **tree}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), 0o755
            tar.addfile(member, io.BytesIO(text.encode()))
        tar.add(shutil.which("busybox") or "busybox", "/bin/sh")
    (folder / "tree.tar").write_bytes(archive.getvalue())
    guest.tar_in(str(folder / "tree.tar"), "/")
    guest.umount_all()
    root = mount(guest)
    step = Step(Reporter(io.StringIO()), "x", "customize")
    return guests._apply(guest, root, recipe, Archives(BuildArchives(), ()), step)


RECIPE = Recipe(packages=("git",), upgrade="all", enable=("sshd",))


def test_an_alpine_is_driven_by_apk_and_openrc(running: Appliance, tmp_path: Path) -> None:
    found = applied(running, GUESTS["apk"], RECIPE, tmp_path)
    assert running.read_lines(LOG) == [
        "apk --no-progress update",
        "apk --no-progress upgrade",
        "apk --no-progress add git",
        "rc-update add sshd default",
    ]
    assert [(package.name, package.version) for package in found.packages] == [
        ("git", "2.51.0-r0"),
        ("musl", "1.2.5-r10"),
    ]
    assert [index.name for index in found.archives] == ["APKINDEX.f00dcafe.tar.gz"]
    assert running.glob_expand("/var/cache/apk/*") == []
    assert not running.exists("/.autorelabel")


def test_an_arch_is_upgraded_whole_with_a_keyring_of_the_build(running: Appliance, tmp_path: Path) -> None:
    found = applied(running, GUESTS["pacman"], RECIPE, tmp_path)
    keys = "--gpgdir /tmp/kmi-keyring"
    assert running.read_lines(LOG) == [
        f"pacman-key {keys} --init",
        f"pacman-key {keys} --populate",
        f"pacman --noconfirm --noprogressbar {keys} -Syu",
        f"pacman --noconfirm --noprogressbar {keys} -S --needed git",
        "gpgconf --homedir /tmp/kmi-keyring --kill all",
        "systemctl enable sshd",
    ]
    assert [(package.name, package.version) for package in found.packages] == [
        ("git", "2.51.0-1"),
        ("shadow", "1:4.18-2"),
    ]
    assert running.glob_expand("/var/lib/pacman/sync/*") == []
    assert running.exists("/.autorelabel"), "the appliance has no setfiles, so the guest labels at its first start"
