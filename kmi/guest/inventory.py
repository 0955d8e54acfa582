"""What is in the disk, read from its package database by kmi itself; no program of the guest is asked.

Everything here is the word of the guest. Free text is kept without control characters; a package database that its
own package manager would refuse is refused.
"""

from __future__ import annotations

import hashlib
import io
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any

from kmi.errors import BuildError
from kmi.guest.files import read
from kmi.guest.packages import PackageManager
from kmi.host.guestfs import Appliance
from kmi.host.ui import plain
from kmi.model.digest import Digest
from kmi.model.stages import ArchiveIndex, Inventory, Package

_MODULES = ("/lib/modules", "/usr/lib/modules")
_OS_RELEASE = 64 * 1024
_DATABASE = 64 * 1024 * 1024
_INDEX = 16 * 1024 * 1024
"""Bytes. No file of a server image comes near these; a hostile one is not read into memory."""
_PACKAGES = 100_000
"""More than Debian has."""
_KERNELS = _INDEXES = 100

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_KERNEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,63}")
"""What uname(2) can report: __NEW_UTS_LEN is 64."""
_WORD = re.compile(r"[!-~]{1,255}")
"""Names, versions and architectures are printable ASCII without blanks (Debian policy 5.6)."""
_FIELDS = frozenset({"Package", "Status", "Version", "Architecture", "Source"})


def take(guest: Appliance, manager: PackageManager | None) -> Inventory:
    """The inventory of the mounted guest. Call before scrub: the archive indexes are a cache that scrub removes.

    BuildError where a file of it cannot be read, is absurdly large, or is not what the package manager writes.
    """
    return Inventory(
        os_release=os_release(_text(guest, "/etc/os-release", _OS_RELEASE)),
        kernels=_kernels(guest),
        packages=_packages(guest, manager),
        archives=_archives(guest, manager),
    )


def os_release(text: str) -> tuple[tuple[str, str], ...]:
    """os-release(5): ``NAME=value`` lines with shell quoting; malformed lines are left out, and control and
    bidirectional characters are replaced."""
    pairs = {}
    for line in text.split("\n"):
        name, equals, value = line.partition("=")
        if not equals or not _VARIABLE.fullmatch(name):
            continue
        try:
            words = shlex.split(value, comments=False)
        except ValueError:
            continue
        pairs[name] = plain(words[0]) if len(words) == 1 else ""
    return tuple(sorted(pairs.items()))


def dpkg_status(text: str) -> tuple[Package, ...]:
    """Debian's ``/var/lib/dpkg/status`` (deb-control paragraphs): the packages that are installed.

    ``Source:`` is left out where it equals the package's name, and carries a version only where that differs
    (Debian policy 5.6.1). BuildError for a name, version or architecture that dpkg would not take, and for more than
    100,000 packages.
    """
    packages = []
    for fields in _paragraphs(text):
        if fields.get("Status", "").endswith(" installed"):
            packages.append(_dpkg_package(fields))
            if len(packages) > _PACKAGES:
                raise BuildError("the package database is absurdly large", expected=f"at most {_PACKAGES} packages")
    return tuple(sorted(packages, key=lambda package: (package.name, package.arch)))


_PARSERS: dict[str, Callable[[str], tuple[Package, ...]]] = {"apt": dpkg_status}


def _dpkg_package(fields: dict[str, str]) -> Package:
    name, version = fields["Package"], fields.get("Version", "")
    source, _, source_version = fields.get("Source", name).partition(" ")
    package = Package(
        name=name,
        version=version,
        arch=fields.get("Architecture", ""),
        source=source,
        source_version=source_version.strip("()") or version,
    )
    return _checked(package)


def _checked(package: Package) -> Package:
    for word in (package.name, package.version, package.arch or "none", package.source, package.source_version):
        if not _WORD.fullmatch(word):
            raise BuildError(
                "the package database is damaged", expected="a word of printable ASCII", got=f"{word[:200]!r}",
                where=f"the paragraph of {package.name[:200]!r}",
            )  # fmt: skip
    return package


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Only the fields that are asked for: a database has none of the size of its text in memory."""
    fields: dict[str, str] = {}
    for line in io.StringIO(text):
        name, colon, value = line.partition(":")
        if colon and name in _FIELDS:
            fields[name] = value.strip()
        elif line == "\n":
            if "Package" in fields:
                yield fields
            fields = {}
    if "Package" in fields:
        yield fields


def applications(found: list[dict[str, Any]], mark: str) -> tuple[Package, ...]:
    """What libguestfs read from the database of rpm, pacman or apk (guestfs(3), inspect_list_applications2), which it
    does in the appliance. ``mark`` joins version and release. BuildError as for dpkg's, and for an empty one."""
    if not 0 < len(found) <= _PACKAGES:
        expected = f"1 to {_PACKAGES} packages"
        raise BuildError("libguestfs cannot read the package database", expected=expected, got=len(found))
    packages = []
    for row in found:
        name, epoch, version, release = (row[f"app2_{field}"] for field in ("name", "epoch", "version", "release"))
        whole = (f"{epoch}:" if epoch else "") + version + (mark + release if release else "")
        if name != "gpg-pubkey":  # how rpm keeps the keys that it trusts
            packages.append(_checked(Package(
                name=name, version=whole, arch=row["app2_arch"], source=row["app2_source_package"] or name,
                source_version=whole,
            )))  # fmt: skip
    return tuple(sorted(packages, key=lambda package: (package.name, package.arch, package.version)))


def _packages(guest: Appliance, manager: PackageManager | None) -> tuple[Package, ...]:
    if manager is None:
        return ()
    if not manager.database:
        return applications(guest.inspect_list_applications2(guest.inspect_get_roots()[0]), manager.release)
    return _PARSERS[manager.name](_text(guest, manager.database, _DATABASE))


def _archives(guest: Appliance, manager: PackageManager | None) -> tuple[ArchiveIndex, ...]:
    if manager is None:
        return ()
    paths = sorted(path for glob in manager.indexes for path in guest.glob_expand(glob, directoryslash=False))
    if len(paths) > _INDEXES:
        raise BuildError("the guest has absurdly many archive indexes", expected=f"at most {_INDEXES}", got=len(paths))
    return tuple(
        ArchiveIndex(
            name=name,
            digest=Digest(algorithm="sha256", hex=hashlib.sha256(read(guest, path, limit=_INDEX)).hexdigest()),
        )
        for path in paths
        if _WORD.fullmatch(name := index_name(path))
    )


def index_name(path: str) -> str:
    """What an archive's index is called, without the mirror's address: apt has that in the file's name; of dnf and
    zypper it is the repository's, of which dnf's folder adds a hash of the address."""
    folder, _, name = path.rpartition("/")
    if "_dists_" in name:
        return "dists_" + name.rpartition("_dists_")[2]
    if name == "repomd.xml":
        return re.sub(r"-[0-9a-f]{16}$", "", folder.removesuffix("/repodata").rpartition("/")[2])
    return "InRelease" if name.endswith("_InRelease") else name


def _kernels(guest: Appliance) -> tuple[str, ...]:
    """The folders of modules whose names a kernel release can have."""
    for folder in _MODULES:
        if guest.is_dir(folder, followsymlinks=True):
            names = (path.rpartition("/")[2] for path in guest.glob_expand(f"{folder}/*", directoryslash=False))
            found = tuple(sorted(name for name in names if _KERNEL.fullmatch(name)))
            if len(found) > _KERNELS:
                raise BuildError("the guest has absurdly many kernels", expected=f"at most {_KERNELS}", got=len(found))
            return found
    return ()


def _text(guest: Appliance, path: str, limit: int) -> str:
    return read(guest, path, limit=limit).decode(errors="replace")
