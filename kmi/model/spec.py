"""What a manifest asks for: one ``ImageSpec`` for each distro, release and architecture."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from kmi.model.platform import Arch, Firmware

CLOUD_IMAGE, BOOTSTRAP = "cloud-image", "bootstrap"
SOURCES = (CLOUD_IMAGE, BOOTSTRAP)
"""Where a disk may come from (``--source``), the default first."""


class Tier(StrEnum):
    """How mature an image is, in order. ``kmi.policy.tiers`` says what each demands."""

    PLANNED = "planned"
    PREVIEW = "preview"
    PROPOSED = "proposed"
    STABLE = "stable"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ImageId:
    """The one name of an image in logs, folders, receipts and selectors: ``debian-12-amd64``."""

    distro: str
    release: str
    arch: Arch

    @property
    def name(self) -> str:
        """Distro and release, without the architecture: ``debian-12``."""
        return f"{self.distro}-{self.release}"

    def __str__(self) -> str:
        return f"{self.name}-{self.arch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How the publisher's checksum document is proved.

    ``kind`` is ``openpgp`` (then ``fingerprints`` holds full primary fingerprints, upper-case hexadecimal,
    any of which may sign, ``key_url`` says where the publisher keeps the key, and ``signature`` the URL of a
    detached signature, or none where the document itself is clear-signed) or ``tls-only``.
    """

    kind: str
    fingerprints: tuple[str, ...] = ()
    key_url: str | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudImage:
    """A disk that the publisher offers for download, with a checksum document beside it. URLs are concrete;
    ``kind`` names the module in kmi.upstream.sources."""

    url: str
    checksums: str
    algorithm: str
    format: str
    trust: Trust
    kind: str = "checksum-file"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageArchive:
    """A signed package archive that a bootable disk can be made of. ``kind`` names the module in kmi.bootstrap."""

    kind: str
    suite: str
    keyring: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildArchives:
    """Where a guest's packages come from during the build, in place of its own sources: source lines and options of
    its package manager. Nothing of it stays in the disk, and none of it is in a stage key."""

    lines: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestFile:
    """A file to write into the guest: absolute path, text, permission bits."""

    path: str
    content: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is done to the publisher's disk. ``upgrade`` is all, security or none; ``room`` is the free space in
    bytes that the root file system must have before anything is installed."""

    packages: tuple[str, ...]
    upgrade: str
    enable: tuple[str, ...] = ()
    files: tuple[GuestFile, ...] = ()
    run: tuple[str, ...] = ()
    room: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalText:
    """A licence or an end-user agreement: its name, where it stands, and its text."""

    name: str
    url: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """One image to build. ``where`` is the manifest's ``file:line`` for error messages; sizes are in bytes.
    ``recipe`` is None where the publisher's disk is taken as it is, and ``untouched`` then says why."""

    id: ImageId
    title: str
    codename: str
    tier: Tier
    default: bool
    cloud_image: CloudImage | None
    archive: PackageArchive | None
    recipe: Recipe | None
    firmware: tuple[Firmware, ...]
    user: str
    init: str
    agent: str
    instancetype: str
    preference: str
    documentation: str
    licence: LegalText
    eula: LegalText | None
    virtual_size: int
    end_of_life: date | None
    where: str
    untouched: str = ""
