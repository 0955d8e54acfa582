"""What one stage hands to the next. Each type is a proof: holding a ``VerifiedImage`` means that it was verified."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import PLAIN, ImageId, Packing, Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Why the bytes are believed: ``openpgp:<fingerprint>``, ``apt:<fingerprint>``, ``tls-only``, or
    ``user`` for a disk that the user brought."""

    kind: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}" if self.value else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A cloud image resolved to one concrete file. ``digest`` is the publisher's, over what ``packing`` says;
    ``content`` is the publisher's digest of the disk in the file, where that is given too. ``size`` is the file's, in
    bytes, where it is known; ``released_at`` is UTC and the time of everything kmi writes. ``signed`` is what still has
    to be proved over the file as served, where the publisher signs that; its ``signature`` is then a concrete URL."""

    id: ImageId
    url: str
    digest: Digest
    size: int | None
    build: str
    released_at: datetime
    evidence: Evidence
    checksums: str
    format: str
    packing: Packing = PLAIN
    content: Digest | None = None
    signed: Trust | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a disk came from and what proves it. ``method`` is download, bootstrap or byo (then ``url`` is empty);
    ``checksum`` is the value that was validated, for byo the disk's own. ``pulled_at`` (UTC) tells when; it is in no
    stage key."""

    method: str
    url: str
    checksum: Digest
    build: str
    released_at: datetime
    evidence: Evidence
    pulled_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedImage:
    """A disk whose bytes are proved genuine. ``digest`` is the SHA-256 of the file at ``path``.

    Only ``upstream.fetch``, ``upstream.adopt`` (for a disk that the user vouches for) and ``bootstrap.build`` make one;
    a test holds them to it.
    """

    id: ImageId
    path: Path
    digest: Digest
    format: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed package, with the source package it was built from."""

    name: str
    version: str
    arch: str
    source: str
    source_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveIndex:
    """The signed index of a package archive as the guest saw it, with the SHA-256 of the document."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What is in the disk: os-release (sorted pairs), kernel releases, packages by name, archive indexes."""

    os_release: tuple[tuple[str, str], ...]
    kernels: tuple[str, ...]
    packages: tuple[Package, ...]
    archives: tuple[ArchiveIndex, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomDisk:
    """The customised working disk (raw, sparse), not yet compressed. ``customizer`` names the executor."""

    id: ImageId
    path: Path
    format: str
    origin: Origin
    inventory: Inventory
    customizer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The finished disk: qcow2 with zstd clusters. ``size`` is the file's, ``virtual_size`` the guest's, in bytes."""

    id: ImageId
    path: Path
    digest: Digest
    size: int
    virtual_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OciImage:
    """One architecture's image manifest in the OCI layout at ``layout``. ``size`` is the manifest's, in bytes."""

    id: ImageId
    layout: Path
    digest: Digest
    size: int
    disk: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class OciIndex:
    """The image index over all architectures, in one OCI layout with everything it refers to."""

    layout: Path
    digest: Digest
    images: tuple[OciImage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An index that a registry holds, by digest. ``repository`` is ``host[:port]/path`` without tag or digest."""

    repository: str
    digest: Digest
    children: tuple[tuple[Arch, Digest], ...]

    @property
    def reference(self) -> str:
        return f"{self.repository}@{self.digest}"


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check on one machine (on its name: ``kmi.model.checks.Round``). ``detail`` says what was seen, or why nothing
    was looked at; time in seconds."""

    check: str
    machine: str
    outcome: Outcome
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TestReport:
    """All checks of one architecture's image. ``subject`` is the digest of the manifest that was booted.

    ``runner`` is qemu or kubevirt, ``simulated`` tells that it was no real one; ``acceleration`` is how guests ran
    (kvm, tcg, or empty where that is not known), ``began`` when the first of them was started (UTC, ISO 8601).
    """

    __test__ = False

    subject: Digest
    arch: Arch
    results: tuple[CheckResult, ...]
    runner: str = "qemu"
    simulated: bool = False
    acceleration: str = ""
    began: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The gate's answer. ``blocking`` are the failures that forbid tags, ``advisory`` those that only advise."""

    allowed: bool
    blocking: tuple[CheckResult, ...]
    advisory: tuple[CheckResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """A published index whose signatures (its own and each child's) were made and verified with ``public_key``, or
    keyless, where that is None."""

    published: Published
    public_key: Path | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """The tags that now name the index, the immutable one first."""

    published: Published
    tags: tuple[str, ...]
