"""Changes of a healthy disk's files, each of which breaks one thing in the guest (Debian 12)."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock


@dataclass(frozen=True, kw_only=True)
class Files:
    """A disk's files while they can be changed: ``root`` is where its root file system is mounted, ``raw`` the disk."""

    root: Path
    raw: Path

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A new file, in place of what has the name (which other names may have too)."""
        target = self.at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(text)
        target.chmod(mode)

    def remove(self, pattern: str) -> None:
        """The files below the root, of which there must be one at least."""
        found = list(self.root.glob(pattern.lstrip("/")))
        assert found, pattern
        for one in found:
            one.unlink()

    def link(self, path: str, target: str) -> None:
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).unlink(missing_ok=True)
        self.at(path).symlink_to(target)

    def replace(self, path: str, old: str, new: str) -> None:
        text = self.at(path).read_text()
        assert old in text, f"{path} has no {old!r}"
        self.at(path).write_text(text.replace(old, new))

    def unit(self, name: str, command: str) -> None:
        """A service that runs ``command`` once at each start."""
        text = f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c '{command}'\n"
        self.write(f"/etc/systemd/system/{name}.service", text)
        self.link(f"/etc/systemd/system/multi-user.target.wants/{name}.service", f"../{name}.service")

    def mask(self, unit: str) -> None:
        self.link(f"/etc/systemd/system/{unit}", "/dev/null")

    def cloud_config(self, name: str, **settings: object) -> None:
        self.write(f"/etc/cloud/cloud.cfg.d/99-{name}.cfg", json.dumps(settings) + "\n")

    def kernel(self, words: str) -> None:
        """More words on the kernel's command line."""
        self.replace("/boot/grub/grub.cfg", " console=ttyS0", f" {words} console=ttyS0")


@contextmanager
def writable(raw: Path, folder: Path) -> Iterator[Files]:
    """Partition 1 of a raw disk, mounted below ``folder``."""
    table = json.loads(subprocess.run(["sfdisk", "--json", raw], check=True, capture_output=True).stdout)
    parts = table["partitiontable"]["partitions"]
    first = next(part for part in parts if part["node"] == f"{raw}1")
    root = folder / "root"
    root.mkdir()
    options = f"loop,offset={first['start'] * 512},sizelimit={first['size'] * 512}"
    subprocess.run(["mount", "-t", "ext4", "-o", options, raw, root], check=True)
    try:
        yield Files(root=root, raw=raw)
    finally:
        subprocess.run(["umount", root], check=True)
        root.rmdir()


def no_kernel(files: Files) -> None:
    files.remove("/boot/vmlinuz-*")


def wrong_architecture(files: Files) -> None:
    """What a disk for arm64 holds where SeaBIOS looks: a partition table, and no boot loader."""
    with files.raw.open("r+b") as disk:
        disk.write(bytes(440))


def agent_masked(files: Files) -> None:
    files.mask("qemu-guest-agent.service")


def cloud_init_disabled(files: Files) -> None:
    files.write("/etc/cloud/cloud-init.disabled", "")


def cloud_init_errors(files: Files) -> None:
    files.cloud_config("errors", bootcmd=[["false"]])


def network_off(files: Files) -> None:
    for unit in ("systemd-networkd.service", "systemd-networkd.socket", "systemd-networkd-wait-online.service"):
        files.mask(unit)


def host_name_kept(files: Files) -> None:
    files.cloud_config("name", preserve_hostname=True)


def password_login(files: Files) -> None:
    files.write("/etc/ssh/sshd_config.d/00-passwords.conf", "PasswordAuthentication yes\n")


def root_login(files: Files) -> None:
    files.cloud_config("root", disable_root=False)


def other_release(files: Files) -> None:
    files.replace("/usr/lib/os-release", 'VERSION_ID="12"', 'VERSION_ID="11"')


def agent_alone(files: Files) -> None:
    """It sees a loopback of its own and nothing else."""
    files.write("/etc/systemd/system/qemu-guest-agent.service.d/alone.conf", "[Service]\nPrivateNetwork=yes\n")


def agent_filter(files: Files) -> None:
    blocked = "guest-ssh-get-authorized-keys,guest-ssh-add-authorized-keys,guest-ssh-remove-authorized-keys"
    files.write("/etc/qemu/qemu-ga.conf", f"[general]\nblock-rpcs={blocked}\n")


def no_growpart(files: Files) -> None:
    files.write("/etc/growroot-disabled", "")
    files.cloud_config("root-disk", growpart={"mode": "off"}, resize_rootfs=False)


def failing_trim(files: Files) -> None:
    files.write("/usr/sbin/fstrim", "#!/bin/sh\necho 'fstrim: /: FITRIM ioctl failed' >&2\nexit 1\n", 0o755)


def no_mkfs(files: Files) -> None:
    files.remove("/usr/sbin/mk*fs*")


def static_address(files: Files) -> None:
    files.cloud_config("network", network={"config": "disabled"})
    files.remove("/etc/netplan/*.yaml")
    card = {"match": {"name": "e*"}, "addresses": ["10.0.2.2/24"], "nameservers": {"addresses": ["10.0.2.3"]},
            "routes": [{"to": "default", "via": "10.0.2.1"}], "accept-ra": True}  # fmt: skip
    files.write("/etc/netplan/60-static.yaml", json.dumps({"network": {"version": 2, "ethernets": {"all": card}}}))


def other_name_server(files: Files) -> None:
    files.write("/etc/resolv.conf", "nameserver 192.0.2.1\n")


def no_resolver(files: Files) -> None:
    files.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n")


def no_way_out(files: Files) -> None:
    """Commands of logins may not talk to the gateway; connections that SSH took before them live on."""
    files.write("/etc/systemd/system/user.slice.d/deny.conf", "[Slice]\nIPAddressDeny=10.0.2.1\n")


def no_ipv6(files: Files) -> None:
    files.kernel("ipv6.disable=1")


def small_mtu(files: Files) -> None:
    rule = 'ACTION=="add", SUBSYSTEM=="net", DRIVERS=="virtio_net", ATTR{mtu}="1280"\n'
    files.write("/etc/udev/rules.d/90-mtu.rules", rule)


def broken_program(files: Files) -> None:
    files.write("/usr/bin/tmux", "#!/nowhere/interpreter\n", 0o755)


def no_apparmor(files: Files) -> None:
    files.kernel("apparmor=0")


def failing_unit(files: Files) -> None:
    files.unit("broken", "false")


def wrong_clock(files: Files) -> None:
    files.unit("hour-ahead", 'date --set "1 hour"')


def eats_memory(files: Files) -> None:
    files.unit("eater", "head -c 450M /dev/zero >/dev/shm/eaten")


def power_key_reboots(files: Files) -> None:
    files.write("/etc/systemd/logind.conf.d/key.conf", "[Login]\nHandlePowerKey=reboot\n")


def powers_off_instead(files: Files) -> None:
    files.link("/etc/systemd/system/reboot.target", "/lib/systemd/system/poweroff.target")


def baked_machine_id(files: Files) -> None:
    files.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444)


def baked_host_keys(files: Files) -> None:
    """The same keys in every disk that is broken so."""
    files.cloud_config("host-keys", ssh_deletekeys=False)
    with _MAKING:
        keys = _host_keys()
    for name, data in keys.items():
        target = files.root / "etc/ssh" / name
        target.write_bytes(data)
        target.chmod(0o644 if name.endswith(".pub") else 0o600)


_MAKING = Lock()
"""Disks are broken side by side, and ``cache`` lets each of them make keys of its own."""


@cache
def _host_keys() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        keys = Path(folder) / "etc/ssh"
        keys.mkdir(parents=True)
        subprocess.run(["ssh-keygen", "-A", "-f", folder], check=True, capture_output=True)
        return {path.name: path.read_bytes() for path in keys.iterdir()}
