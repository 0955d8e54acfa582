"""Guests that mean harm, in a real appliance: every case is a fresh small file system in the one that is running.

The guest is a busybox. After all cases the appliance's own files must be what they were, and so must a folder of the
host whose path the guest's links name.
"""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kmi.errors import BuildError
from kmi.guest import customize, files, inventory, mounts, scrub
from kmi.guest.archives import Archives
from kmi.guest.packages import MANAGERS, OPTIONS, POLICY, SOURCES, script
from kmi.host.accel import Acceleration, probe
from kmi.host.guestfs import Appliance, appliance
from kmi.model.platform import Arch
from kmi.model.spec import BuildArchives

DISK = "/dev/sda"
SIZE = 64 << 20
APT = MANAGERS["apt"]
STATUS, INDEX = APT.database, "/var/lib/apt/lists/example.org_dists_x_InRelease"
OS_RELEASE = "ID=debian\nVERSION_ID=12\nNAME=Debian\n"
PASSWD = "root:x:0:0::/root:/bin/sh\n"
BASE = {
    "/etc/os-release": OS_RELEASE,
    "/etc/passwd": PASSWD,
    "/etc/fstab": f"{DISK} / ext4 defaults 0 1\n",
    "/etc/machine-id": "0123\n",
    STATUS: "Package: git\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n",
    INDEX: "Suite: x\n",
    "/lib/modules/6.1.0-1-amd64/modules.dep": "",
    "/usr/sbin/sshd": "",
    "/usr/lib/systemd/system/x.service": "",
}
FOLDERS = ("/bin", "/tmp", "/var/log", "/var/tmp", "/dev", "/proc", "/sys", "/root", "/etc/ssh", "/etc/systemd")
TOOLS = ("cat", "dd", "false", "ln", "mkdir", "printf", "rm", "sleep", "true", "yes")


@dataclass(frozen=True, kw_only=True)
class Host:
    """A folder of the host that no guest may reach, and what the appliance's own files were at first."""

    canary: Path
    before: str


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Appliance, Host]]:
    folder = tmp_path_factory.mktemp("hostile")
    disk, canary = folder / "disk.raw", folder / "canary"
    disk.touch()
    os.truncate(disk, SIZE)
    canary.mkdir()
    (canary / "x.gz").write_text("the host's")
    acceleration = probe(Arch.of_machine(platform.machine()), folder / "cache")
    with appliance([disk], acceleration=acceleration, cache=folder / "cache", log=folder / "log") as guest:
        yield guest, Host(canary=canary, before=appliances_files(guest))
        guest.umount_all()
    disk.unlink()


@pytest.fixture
def guest(running: tuple[Appliance, Host]) -> Appliance:
    """A fresh guest, mounted."""
    found, _ = running
    found.umount_all()
    found.mkfs("ext4", DISK)
    found.mount(DISK, "/")
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name in FOLDERS:
            member = tarfile.TarInfo(name)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        for name, text in BASE.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
        tar.add(shutil.which("busybox") or "busybox", "/bin/sh")
        for name in TOOLS:
            member = tarfile.TarInfo(f"/bin/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "sh"
            tar.addfile(member)
    made = Path(running[1].canary).parent / "tree.tar"
    made.write_bytes(archive.getvalue())
    found.tar_in(str(made), "/")
    return found


@pytest.fixture(scope="module", autouse=True)
def nothing_lands_outside(running: tuple[Appliance, Host]) -> Iterator[None]:
    yield
    guest, host = running
    assert appliances_files(guest) == host.before
    assert {path.name: path.read_text() for path in host.canary.iterdir()} == {"x.gz": "the host's"}


def appliances_files(guest: Appliance) -> str:
    """The appliance's own files with size, mode and link target; /etc/mtab and the like are links to /proc."""
    return str(guest.debug("sh", ["find /etc /bin /usr /var /root /opt /home -xdev -printf '%p %s %m %l\\n' | sort"]))


def refused(call: Callable[[], object], *, seconds: float = 20) -> BuildError:
    began = time.monotonic()
    with pytest.raises(BuildError) as caught:
        call()
    assert time.monotonic() - began < seconds
    return caught.value


def huge(guest: Appliance, path: str) -> None:
    guest.write(path, "NAME=")
    guest.shell(f"dd if=/dev/zero of={path} bs=1M count=10 2>/dev/null")


def endless(guest: Appliance, path: str) -> None:
    guest.rm_f("/etc/zero")
    guest.mknod_c(0o600, 1, 5, "/etc/zero")
    guest.ln_s("/etc/zero", path)


KINDS: dict[str, Callable[[Appliance, str], None]] = {
    "a sparse file of 2 GB": lambda guest, path: guest.truncate_size(path, 2 << 30) if guest.touch(path) is None else 0,
    "a FIFO": lambda guest, path: guest.mkfifo(0o600, path),
    "a link to /dev/zero": endless,
    "a link to nowhere": lambda guest, path: guest.ln_s("/nowhere", path),
    "a link to itself": lambda guest, path: guest.ln_s(path, path),
    "a folder": lambda guest, path: guest.mkdir(path),
    "nothing": lambda guest, path: None,
}


@pytest.mark.parametrize("path", ["/etc/os-release", STATUS, INDEX])
def test_what_the_inventory_reads_may_be_anything(guest: Appliance, path: str) -> None:
    for kind, plant in KINDS.items():
        if path == INDEX and kind == "nothing":
            continue  # an index that is not there is not looked for
        guest.rm_rf(path)
        plant(guest, path)
        error = refused(lambda: inventory.take(guest, APT))
        assert (error.what, error.where) == ("a file of the guest cannot be read", path), kind


def test_lines_of_ten_megabytes_are_refused(guest: Appliance) -> None:
    huge(guest, "/etc/os-release")
    assert refused(lambda: inventory.take(guest, APT)).got == f"{10 << 20} bytes"


def test_a_guest_that_lies_about_a_size_is_read_no_further(guest: Appliance, monkeypatch) -> None:
    guest.truncate_size("/etc/passwd", 8 << 20)
    monkeypatch.setattr(guest, "filesize", lambda path: 5, raising=False)
    assert refused(lambda: files.read(guest, "/etc/passwd", limit=1 << 20)).got == "more than it says"


def test_names_in_the_inventory_steer_nothing(guest: Appliance) -> None:
    guest.write("/etc/os-release", 'NAME="a\x1b[2Jb"\nEVIL="$(reboot)"\nID=debian\x9b\n\x00=1\n')
    for name in ("6.1\n::error::x", "a b", "\x1b[2J", "$(reboot)", "x" * 80, "6.6.6"):
        guest.mkdir(f"/lib/modules/{name}")
    guest.write("/var/lib/apt/lists/e_dists_\x1b[2J\n_InRelease", "x")
    found = inventory.take(guest, APT)
    assert found.os_release == (("EVIL", "$(reboot)"), ("ID", "debian�"), ("NAME", "a�[2Jb"))
    assert found.kernels == ("6.1.0-1-amd64", "6.6.6")
    assert [index.name for index in found.archives] == ["dists_x_InRelease"]


PLANTED: dict[str, Callable[[Appliance, str], None]] = {
    "a link to a file": lambda guest, path: guest.ln_s("/etc/passwd", path),
    "a link that climbs": lambda guest, path: guest.ln_s("../../../../../../../etc/passwd", path),
    "a link to nowhere": KINDS["a link to nowhere"],
    "a link to /dev/zero": endless,
    "a FIFO": KINDS["a FIFO"],
    "nothing": KINDS["nothing"],
}


@pytest.mark.parametrize("path", ["/etc/motd", POLICY, SOURCES, OPTIONS])
def test_a_file_of_kmi_is_where_it_says_and_nowhere_else(guest: Appliance, path: str) -> None:
    for kind, plant in PLANTED.items():
        guest.rm_f(path)
        plant(guest, path)
        files.put(guest, path, "kmi's", mode=0o640)
        assert guest.is_file(path, followsymlinks=False), kind
        assert (guest.cat(path), guest.statns(path)["st_mode"] & 0o777) == ("kmi's", 0o640), kind
    assert guest.cat("/etc/passwd") == PASSWD
    assert not guest.exists("/nowhere")


def test_a_folder_in_the_way_is_told(guest: Appliance) -> None:
    guest.mkdir("/etc/motd")
    assert refused(lambda: files.put(guest, "/etc/motd", "x")).where == "/etc/motd"
    guest.mkdir("/etc/link")
    refused(lambda: files.link(guest, "/x", "/etc/link"))


@pytest.mark.parametrize("target", ["/tmp", "../../../../../../tmp", "HOST"])
def test_a_folder_that_leads_elsewhere_leads_into_the_guest(
    guest: Appliance, running: tuple[Appliance, Host], target: str
) -> None:
    """The unit that makes SSH host keys, where the guest's /etc/systemd/system leads out of its root."""
    if target == "HOST":
        target = str(running[1].canary)
        guest.mkdir_p(target)
    guest.ln_s(target, "/etc/systemd/system")
    customize._host_keys(guest)
    inside = target if target.startswith("/") else "/tmp"
    unit, link = (f"{inside}/{path.removeprefix('/etc/systemd/system/')}" for path in customize.ADDED)
    assert guest.is_file(unit, followsymlinks=False)
    assert guest.readlink(link) == customize.ADDED[0]


@pytest.mark.parametrize(
    ("folder", "target"),
    [
        ("/var/log", "/etc"),
        ("/var/log", "../../../../../../etc"),
        ("/var/tmp", "/usr"),
        ("/etc/ssh", "/usr/lib"),
        ("/tmp", "/"),
        ("/var/log/nginx", "/etc"),
        ("/var", "/etc/other"),
        ("/var/log", "HOST"),
    ],
)
def test_scrubbing_is_not_led_astray(
    guest: Appliance, running: tuple[Appliance, Host], folder: str, target: str
) -> None:
    if target == "HOST":
        target = str(running[1].canary)
        guest.mkdir_p(target)
        guest.write(f"{target}/x.gz", "the guest's")
    guest.write("/usr/lib/ssh_host_x_key", "x")
    guest.mkdir_p("/etc/other/log")
    guest.write("/etc/other/log/x.gz", "x")
    guest.rm_rf(folder)
    guest.ln_s(target, folder)
    before = guest.find("/")
    error = refused(lambda: scrub.scrub(guest))
    assert error.what == "a link in the guest leads scrubbing astray"
    assert str(error.expected).startswith(folder)
    gone = set(before) - set(guest.find("/"))
    assert gone <= {INDEX.lstrip("/"), "tmp", "var/tmp"}
    assert guest.cat("/etc/passwd") == PASSWD


def test_scrubbing_follows_a_link_to_what_it_means_anyway(guest: Appliance) -> None:
    guest.rm_rf("/var/tmp")
    guest.ln_s("/tmp", "/var/tmp")
    guest.write("/tmp/x", "x")
    guest.ln_s("/etc", "/tmp/etc")
    guest.ln_s("/etc/passwd", "/var/log/passwd")
    guest.mkfifo(0o600, "/var/log/fifo")
    scrub.scrub(guest)
    assert guest.ls("/tmp") == []
    assert guest.cat("/etc/passwd") == PASSWD
    assert guest.filesize("/etc/machine-id") == 0


def test_what_scrubbing_cannot_remove_is_told(guest: Appliance, monkeypatch) -> None:
    guest.touch("/tmp/kept")
    guest.set_e2attrs("/tmp/kept", "i")
    error = refused(lambda: scrub.scrub(guest))
    assert "Operation not permitted" in str(error.got) and "/tmp/kept" in str(error)
    guest.set_e2attrs("/tmp/kept", "i", clear=True)
    for number in range(8):
        guest.touch(f"/tmp/{number}")
    monkeypatch.setattr(scrub, "MOST", 5)
    assert "absurdly many" in refused(lambda: scrub.scrub(guest)).what


def test_a_name_that_is_no_text_is_told(guest: Appliance) -> None:
    guest.shell("printf x > /tmp/$(printf '\\377')")
    error = refused(lambda: scrub.scrub(guest))
    assert (error.expected, error.got) == ("UTF-8", repr(b"/tmp/\xff"))


def test_machine_id_that_is_no_file_is_left(guest: Appliance) -> None:
    guest.rm_f("/etc/machine-id")
    guest.ln_s("/etc/passwd", "/etc/machine-id")
    scrub.scrub(guest)
    assert guest.cat("/etc/passwd") == PASSWD


def test_sources_are_rewritten_and_put_back_whatever_became_of_them(guest: Appliance) -> None:
    line, mirrors = "deb http://a/debian x main\n", (("http://a/", "http://m/"),)
    guest.mkdir_p("/etc/apt/sources.list.d")
    guest.write("/etc/apt/sources.list", line)
    guest.mkfifo(0o600, "/etc/apt/sources.list.d/fifo.list")
    guest.ln_s("/etc/passwd", "/etc/apt/sources.list.d/link.list")
    with Archives(BuildArchives(), mirrors).used(guest, APT) as override:
        assert not override
        assert guest.cat("/etc/apt/sources.list") == line.replace("//a/", "//m/")
        guest.rm_f("/etc/apt/sources.list")
        guest.ln_s("/etc/passwd", "/etc/apt/sources.list")
    assert guest.cat("/etc/apt/sources.list") == line
    assert guest.is_file("/etc/apt/sources.list", followsymlinks=False)
    guest.truncate_size("/etc/apt/sources.list", 2 << 30)
    with pytest.raises(BuildError, match="cannot be read"), Archives(BuildArchives(), mirrors).used(guest, APT):
        pass
    assert guest.cat("/etc/passwd") == PASSWD


def test_a_mount_that_cannot_be_is_told(guest: Appliance) -> None:
    guest.mkdir("/data")
    for path, device, words in (
        ("/../../etc", DISK, "an absolute path to mount on"),
        ("/var/../../../etc", DISK, "an absolute path to mount on"),
        ("var", DISK, "an absolute path to mount on"),
        ("/data", "/dev/sdz", "/dev/sdz on /data"),
        ("/nowhere", DISK, "/dev/sda on /nowhere"),
        ("/etc/passwd", DISK, "/dev/sda on /etc/passwd"),
    ):
        guest.umount_all()
        points = {"/": DISK, path: device}
        error = refused(lambda points=points: mounts.mount_all(guest, DISK, points))
        assert words in str(error)


def test_a_mount_point_behind_a_link_is_the_guests(guest: Appliance) -> None:
    guest.ln_s("/etc", "/data")
    guest.umount_all()
    mounts.mount_all(guest, DISK, {"/": DISK, "/data": DISK})
    table = guest.debug("sh", ["cat /proc/mounts"])
    assert [line.split()[1] for line in table.splitlines() if line.startswith(DISK)] == ["/sysroot", "/sysroot/etc"]


def test_an_fstab_that_mounts_everything_is_refused(guest: Appliance) -> None:
    guest.umount_all()
    points = {"/": DISK} | {f"/m{number}": DISK for number in range(10_000)}
    assert "absurd" in refused(lambda: mounts.mount_all(guest, DISK, points)).what


def test_inspection_hands_on_what_climbs_and_kmi_does_not(guest: Appliance) -> None:
    guest.write("/etc/fstab", f"{DISK} / ext4 defaults 0 1\n{DISK} /../../etc ext4 defaults 0 0\n")
    guest.umount_all()
    assert "fstab is absurd" in refused(lambda: mounts.mount(guest), seconds=60).what


def test_a_root_that_can_only_be_read_is_told(guest: Appliance) -> None:
    guest.umount_all()
    guest.debug("sh", [f"tune2fs -O read-only {DISK}"])
    error = refused(lambda: mounts.mount_all(guest, DISK, {"/": DISK}))
    assert error.what == "the root file system cannot be written" and "customize: none" in str(error.hint)


def test_a_full_file_system_is_told_with_its_figures(guest: Appliance) -> None:
    error = refused(lambda: guest.shell("dd if=/dev/zero of=/root/big bs=1M", on_line=lambda _: None))
    told = mounts.explained(guest, error, 8 << 20)
    assert told.what == "a file system of the guest is full"
    assert str(told.got).startswith("/ has 0 B of ") and "No space left on device" in str(told.got)
    assert "raise `room`" in str(told.hint) and "8.0 MiB" in str(told.hint)
    guest.rm_f("/root/big")
    other = BuildError("something else")
    assert mounts.explained(guest, other, 0) is other


def test_a_file_system_that_broke_down_is_told(guest: Appliance) -> None:
    guest.debug("sh", ["mount -o remount,ro /sysroot"])
    try:
        error = refused(lambda: files.put(guest, "/etc/motd", "x"))
        told = mounts.explained(guest, error, 0)
    finally:
        guest.debug("sh", ["mount -o remount,rw /sysroot"])
    assert (told.what, told.where) == ("a file system of the guest turned read-only", "/")


def test_what_a_command_prints_may_be_any_bytes(guest: Appliance) -> None:
    seen: list[str] = []
    text = "printf '\\377\\376x\\n\\303\\244\\na\\0b\\n\\033[2J\\n'"
    expected = ["��x", "ä", "a\0b", "\x1b[2J"]
    guest.shell(text, on_line=seen.append)
    assert [line for line in seen if line in expected] == expected
    error = refused(lambda: guest.shell(f"{text}; false", on_line=seen.append))
    assert all(line in str(error.got) for line in expected)


def test_a_name_with_shell_syntax_is_a_name(guest: Appliance) -> None:
    guest.write("/bin/apt-get", "#!/bin/sh\nprintf '%s\\n' \"$@\" > /args\n")
    guest.chmod(0o755, "/bin/apt-get")
    names = ["$(rm -rf /etc)", "`rm -rf /etc`", "; rm -rf /etc", "a\nrm -rf /etc", "'", '"', "\\", "*", "-o", "|x&y>z"]
    guest.shell(script(APT, names, upgrade="none", override=False), on_line=lambda _: None)
    assert guest.cat("/args").endswith("install\n" + "\n".join(names) + "\n")
    assert guest.cat("/etc/passwd") == PASSWD


def test_a_command_that_never_comes_to_an_end_is_ended(tmp_path: Path) -> None:
    """Its own appliance: it does not live on."""
    disk = tmp_path / "disk.raw"
    tree = tmp_path / "tree"
    for name in ("bin", "dev", "proc", "sys", "etc"):
        (tree / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox") or "busybox", tree / "bin/sh")
    (tree / "bin/yes").symlink_to("sh")
    disk.touch()
    os.truncate(disk, 16 << 20)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tree), str(disk)], check=True)
    acceleration, log = Acceleration(name="tcg", cpu="max", why=""), tmp_path / "log"
    began = time.monotonic()
    with pytest.raises(BuildError, match="a command in the guest failed") as caught:
        with appliance([disk], acceleration=acceleration, cache=tmp_path / "cache", log=log) as guest:
            guest.mount(DISK, "/")
            guest._console._silence = 3.0
            error = refused(lambda: guest.shell(": > /x; while :; do :; done", on_line=lambda _: None))
            raise error
    assert "silence for 3 s" in str(caught.value.got)
    assert time.monotonic() - began < 120
