"""What is in the disk, read from its package database by kmi itself; no program of the guest is asked."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from kmi.errors import BuildError
from kmi.guest.packages import PackageManager
from kmi.host.guestfs import Appliance
from kmi.model.digest import Digest
from kmi.model.stages import ArchiveIndex, Inventory, Package

_MODULES = ("/lib/modules", "/usr/lib/modules")
_LIMIT = 64 * 1024 * 1024
"""No package database of a server image comes near this; a hostile one is not read into memory."""


def take(guest: Appliance, manager: PackageManager | None, scratch: Path) -> Inventory:
    """The inventory of the mounted guest. Call before scrub: the archive indexes are a cache that scrub removes."""
    return Inventory(
        os_release=os_release(_read(guest, "/etc/os-release", scratch)),
        kernels=_kernels(guest),
        packages=_packages(guest, manager, scratch),
        archives=_archives(guest, manager),
    )


def os_release(text: str) -> tuple[tuple[str, str], ...]:
    """os-release(5): ``NAME=value`` lines with shell quoting; malformed lines are left out."""
    pairs = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if not equals or not name.isidentifier():
            continue
        try:
            words = shlex.split(value, comments=False)
        except ValueError:
            continue
        pairs[name] = words[0] if len(words) == 1 else ""
    return tuple(sorted(pairs.items()))


def dpkg_status(text: str) -> tuple[Package, ...]:
    """Debian's ``/var/lib/dpkg/status`` (deb-control paragraphs): the packages that are installed.

    ``Source:`` is left out where it equals the package's name, and carries a version only where that differs
    (Debian policy 5.6.1).
    """
    installed = [fields for fields in _paragraphs(text) if fields.get("Status", "").endswith(" installed")]
    return tuple(sorted(map(_dpkg_package, installed), key=lambda package: (package.name, package.arch)))


_PARSERS: dict[str, Callable[[str], tuple[Package, ...]]] = {"apt": dpkg_status}


def _dpkg_package(fields: dict[str, str]) -> Package:
    name, version = fields["Package"], fields.get("Version", "")
    source, _, source_version = fields.get("Source", name).partition(" ")
    return Package(
        name=name,
        version=version,
        arch=fields.get("Architecture", ""),
        source=source,
        source_version=source_version.strip("()") or version,
    )


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line[0].isspace()]
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if "Package" in fields:
            yield fields


def _packages(guest: Appliance, manager: PackageManager | None, scratch: Path) -> tuple[Package, ...]:
    if manager is None:
        return ()
    return _PARSERS[manager.name](_read(guest, manager.database, scratch))


def _archives(guest: Appliance, manager: PackageManager | None) -> tuple[ArchiveIndex, ...]:
    if manager is None:
        return ()
    return tuple(
        ArchiveIndex(
            name="dists_" + path.rpartition("_dists_")[2],  # without the mirror's address
            digest=Digest(algorithm="sha256", hex=guest.checksum("sha256", path)),
        )
        for path in sorted(guest.glob_expand(manager.indexes))
    )


def _kernels(guest: Appliance) -> tuple[str, ...]:
    for folder in _MODULES:
        if guest.is_dir(folder, followsymlinks=True):
            return tuple(sorted(str(name) for name in guest.ls(folder)))
    return ()


def _read(guest: Appliance, path: str, scratch: Path) -> str:
    if guest.filesize(path) > _LIMIT:
        raise BuildError("a file of the guest is absurdly large", expected=f"at most {_LIMIT} bytes", where=path)
    target = scratch / "read"
    guest.download(path, str(target))
    return target.read_text(encoding="utf-8", errors="replace")
