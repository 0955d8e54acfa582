"""Debian and its derivatives from their signed package archive, by mmdebstrap.

The host's own apt configuration says which mirror serves the suite (with its updates and security suites), and apt
checks every index against the distribution's keyring. Nothing of that configuration stays in the disk: the guest gets
the sources that its own apt package documents as the default.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from kmi.errors import HostError, VerificationError
from kmi.host.guestfs import Appliance
from kmi.host.run import run
from kmi.host.store import hash_file
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import BuildArchives, PackageArchive
from kmi.settings import mapped

DEFAULT_SOURCES = "/usr/share/doc/apt/examples/sources.list"
"""Where Debian's apt package documents the archive's own sources."""

_ORIGIN = "Debian"
_POCKETS = ("updates", "security")
"""The archive's own suites beside the release: repositories of other origins have keys and packages of their own."""

_PASSED_ON = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries")
"""Host apt options without which the host's mirror may not be reached."""

_NETPLAN = """\
# Every Ethernet interface asks DHCP, unless cloud-init's configuration, whose names sort before these, knows it.
network:
  version: 2
  ethernets:
    zz-all-en: {match: {name: "en*"}, dhcp4: true, dhcp6: true}
    zz-all-eth: {match: {name: "eth*"}, dhcp4: true, dhcp6: true}
"""

_HOSTS = """\
127.0.0.1	localhost
::1		localhost ip6-localhost ip6-loopback
ff02::1		ip6-allnodes
ff02::2		ip6-allrouters
"""

_KEYS_ONLY = "PasswordAuthentication no\n"
"""OpenSSH's default is yes. In sshd_config.d, where the first file wins, after the 50-cloud-init.conf that cloud-init
writes when a seed says ``ssh_pwauth``."""

_INSTALL_GRUB = {
    Arch.AMD64: (
        "touch /etc/grub.d/enable_cloud",
        'grub-install --target=i386-pc "$(grub-probe --target=disk /)"',
        "grub-install --target=x86_64-efi --no-nvram --uefi-secure-boot --force-extra-removable",
        "update-grub",
    ),
    Arch.ARM64: (
        "grub-install --target=arm64-efi --no-nvram --uefi-secure-boot --force-extra-removable",
        "update-grub",
    ),
}
"""As the postinst of grub-cloud-amd64 does, whose flag file also keeps the boot loader current on upgrades. The disk's
name is asked for: the appliance's own disk is found first at times, and the guest's is then /dev/sdb."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The signed index of a suite: its file name in apt's lists, digest, date (UTC), and the keys that signed it."""

    name: str
    digest: Digest
    date: datetime
    fingerprints: tuple[str, ...]


def sources(archive: PackageArchive, mirrors: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The ``deb`` lines that serve the suite on this host. HostError if apt knows none."""
    columns = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(CODENAME)|$(ORIGIN)|$(LABEL)"
    listing = run(["apt-get", "indextargets", "--format", columns, "Created-By: Packages"]).stdout
    suites = {archive.suite, *(f"{archive.suite}-{pocket}" for pocket in _POCKETS)}
    rows = [line.split("|") for line in listing.splitlines() if line.count("|") == 5]
    lines = sorted(
        # The code name, where the host's own sources may say stable: the indexes are looked up by it afterwards.
        {
            f"deb [signed-by={archive.keyring}] {mapped(uri, mirrors)} {codename} {component}"
            for uri, _, component, codename, origin, _ in rows
            if component == "main" and origin == _ORIGIN and codename in suites
        }
    )
    if not lines:
        raise HostError(
            f"this host's apt has no source for {archive.suite}",
            expected=f"a deb line for {archive.suite} main in /etc/apt",
            hint="add the archive to the host's apt sources and run `apt-get update`",
        )
    return tuple(lines)


def options() -> tuple[str, ...]:
    """The host's apt options without which its mirror may not be reached, as lines of apt.conf(5) without the end."""
    dump = run(["apt-config", "dump"]).stdout
    return tuple(line.rstrip(";") for line in dump.splitlines() if line.startswith(_PASSED_ON) and '""' not in line)


def root_archive(
    archive: PackageArchive,
    arch: Arch,
    archives: BuildArchives,
    target: Path,
    *,
    log: Path,
    on_line: Callable[[str], None],
) -> None:
    """Install the packages into a root file system and write it to ``target`` as a tar archive. Unfinished work lies
    beside it."""
    scratch = target.with_suffix(".tmp")
    scratch.mkdir()
    scratch.chmod(0o1777)  # apt fetches as a user of its own
    before, made = _confined(scratch) if os.geteuid() == 0 else ([], target)
    words = [f"--aptopt={option}" for option in archives.options]
    run(
        [*before, "mmdebstrap", "--variant=minbase", f"--architectures={arch.value}",
         f"--include={','.join(archive.packages)}",
         "--skip=cleanup/apt/lists", "--format=tar", *words, archive.suite, made, "-"],
        env={"TMPDIR": "/tmp"},  # noqa: S108 -- by root a folder of ours; else a folder that mmdebstrap's users can reach
        stdin=("\n".join(archives.lines) + "\n").encode(),
        log=log,
        on_line=on_line,
    )  # fmt: skip
    if made != target:
        (scratch / made.name).replace(target)
    shutil.rmtree(scratch)


def releases(root: Path, keyring: str, *, scratch: Path) -> tuple[Release, ...]:
    """The signed indexes that apt used, from the archive made by ``root_archive``; each is verified once more."""
    found = []
    with tarfile.open(root) as tar:
        for member in tar:
            name = member.name.rpartition("/")[2]
            if not name.endswith("_InRelease") or "/var/lib/apt/lists/" not in f"/{member.name}".replace("/./", "/"):
                continue
            file = scratch / name
            stream = tar.extractfile(member)
            file.write_bytes(stream.read() if stream else b"")
            found.append(_release(file, keyring))
    if not found:
        raise VerificationError("the bootstrapped root holds no signed index", expected="*_InRelease in apt's lists")
    return tuple(sorted(found, key=lambda release: release.name))


def configure(guest: Appliance, arch: Arch, hostname: str) -> tuple[str, ...]:
    """Make the unpacked root a machine: sources, network, host name, boot loader. Returns its sources."""
    defaults = tuple(line for line in guest.read_lines(DEFAULT_SOURCES) if line.startswith("deb "))
    lines = tuple(" ".join([*line.split()[:3], "main"]) for line in defaults)
    if not lines:
        raise VerificationError("apt's package documents no default sources", where=DEFAULT_SOURCES)
    guest.write("/etc/apt/sources.list", "\n".join(lines) + "\n")
    guest.rm_f("/etc/apt/apt.conf.d/99mmdebstrap")
    for path in guest.glob_expand("/var/lib/apt/lists/*_*"):
        guest.rm_f(path)
    guest.write("/etc/hostname", f"{hostname}\n")
    guest.write("/etc/hosts", _HOSTS)
    guest.write("/etc/default/locale", "LANG=C.UTF-8\n")  # without one cloud-init asks for a locale that is not there
    guest.rm_f("/etc/.resolv.conf.systemd-resolved.bak")  # systemd-resolved keeps the builder's as a backup
    guest.rm_f("/etc/resolv.conf")
    guest.ln_s("../run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf")
    guest.mkdir_p("/etc/netplan")
    guest.write("/etc/netplan/90-default.yaml", _NETPLAN)
    guest.chmod(0o600, "/etc/netplan/90-default.yaml")
    guest.mkdir_p("/etc/ssh/sshd_config.d")
    guest.write("/etc/ssh/sshd_config.d/60-keys-only.conf", _KEYS_ONLY)
    guest.truncate("/etc/machine-id")
    guest.shell("set -eu\n" + "\n".join(_INSTALL_GRUB[arch]))
    return lines


def _confined(scratch: Path) -> tuple[list[str | Path], Path]:
    """What runs a command in mount and process namespaces of its own with ``scratch`` as its /tmp, and a file in there.

    mmdebstrap as root mounts proc, sys and dev below its scratch folder. In a namespace of its own (private, as
    unshare(1) makes it) the host never sees these mounts, and they go with the last process; and all processes go with
    the first one, which dies with unshare. So a kill leaves a folder that can be removed, and nothing else. A /tmp is
    what apt's user can reach, as a folder below root's home is not.
    """
    script = 'mount --bind "$0" /tmp && exec "$@"'
    own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    return [*own, "sh", "-c", script, scratch], Path("/tmp/root.tar")  # noqa: S108


def _release(file: Path, keyring: str) -> Release:
    result = run(["gpgv", "--status-fd", "1", "--keyring", keyring, file], ok=(0, 1, 2))  # the status lines decide
    status = [line.split()[1:] for line in result.stdout.splitlines() if line.startswith("[GNUPG:]")]
    fingerprints = tuple(sorted({words[-1] for words in status if words[0] == "VALIDSIG"}))
    if not fingerprints or any(words[0] == "BADSIG" for words in status):
        raise VerificationError("an archive index is not signed by its keyring", expected=keyring, where=file.name)
    text = file.read_text(encoding="utf-8")
    date = next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("Date:"))
    return Release(
        name=file.name,
        digest=hash_file(file),
        date=parsedate_to_datetime(date).astimezone(UTC),
        fingerprints=fingerprints,
    )
