"""What a manifest asks for: one ``ImageSpec`` for each distro, release and architecture."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from kmi.model.platform import Arch, Firmware

CLOUD_IMAGE, BOOTSTRAP, OWN_DISK = "cloud-image", "bootstrap", "byo"
SOURCES = (CLOUD_IMAGE, BOOTSTRAP, OWN_DISK)
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
    """How the publisher's checksum document (``over`` checksums) or the image itself (``over`` image) is proved.

    ``kind`` is ``openpgp`` (then ``fingerprints`` holds full primary fingerprints, upper-case hexadecimal,
    any of which may sign, and ``key_url`` says where the publisher keeps the key), ``minisign`` or ``signify`` (then
    ``key`` is the public key, base64), or ``tls-only``. ``signature`` is the URL of a detached signature, none where
    the document itself is clear-signed; it may hold ``{build}``.
    """

    kind: str
    over: str = "checksums"
    fingerprints: tuple[str, ...] = ()
    key_url: str | None = None
    key: str | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildLookup:
    """How the publisher's current build is found: ``kind`` names the module in kmi.upstream.builds, ``url`` what it
    reads, and ``{build}`` in ``name`` stands for the build id, which holds ``containing``."""

    kind: str
    name: str
    url: str | None = None
    containing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How the disk lies in the file that is served. ``compression`` is none, gz, xz, bz2 or zst; ``archive`` is tar or
    empty, and ``member`` then names the disk in it (empty: the only one). ``digest_of`` says what the publisher's
    digest is over: the file, or its content (the disk)."""

    compression: str = "none"
    archive: str = ""
    member: str = ""
    digest_of: str = "file"

    @property
    def plain(self) -> bool:
        """Whether the file is the disk."""
        return self.compression == "none" and not self.archive


PLAIN = Packing()


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudImage:
    """A disk that the publisher offers for download, with a checksum document or an index that names its digest.

    URLs are concrete but for ``{build}``; ``kind`` names the module in kmi.upstream.sources. ``shape`` says how the
    checksum document is laid out: lines, sectioned, or bare (nothing but the digest). ``item`` is what to look up in
    an index, and ``url`` then what the file's URL must begin with.
    """

    url: str
    checksums: str
    algorithm: str
    format: str
    trust: Trust
    kind: str = "checksum-file"
    shape: str = "lines"
    item: str | None = None
    build: BuildLookup | None = None
    packing: Packing = PLAIN


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
class OwnDisk:
    """A disk that the user brings: its format, and a sentence on where to get it."""

    format: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A criterion that need not hold up to and including ``until``, and why."""

    criterion: str
    reason: str
    until: date


@dataclass(frozen=True, slots=True, kw_only=True)
class LegalText:
    """A licence or an end-user agreement: its name, where it stands, and its text."""

    name: str
    url: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """One image to build. ``where`` is the manifest's ``file:line`` for error messages; sizes are in bytes.
    ``recipe`` is None where the publisher's disk is taken as it is, and ``untouched`` then says why. ``reason`` says
    why an image is only planned, ``successor`` which release follows one past its end of life. ``max_age`` in days is
    how long the publisher may be silent. ``redistribution`` is the URL of the policy that restricts it, or empty."""

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
    own_disk: OwnDisk | None = None
    reason: str = ""
    successor: str = ""
    max_age: int | None = None
    redistribution: str = ""
    waivers: tuple[Waiver, ...] = ()
