"""What a manifest may say of the publisher's disk: where it is, how the current build is found, what proves it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kmi.catalogue.fields import (
    BuildTemplate,
    BuildUrl,
    Fingerprint,
    MemberName,
    MinisignKey,
    Strict,
    Unique,
    UrlTemplate,
)
from kmi.model.platform import Arch


class Trust(Strict):
    """What proves the disk: a signature (``openpgp`` with pinned fingerprints, ``minisign`` or ``signify`` with the
    pinned key itself) over the checksum document or over the image, or only the transport (``tls-only``)."""

    kind: Literal["openpgp", "minisign", "signify", "tls-only"]
    over: Literal["checksums", "image"] = "checksums"
    fingerprints: Annotated[tuple[Fingerprint, ...], Unique] = ()
    key_url: UrlTemplate | None = None
    key: MinisignKey | None = None
    signature: BuildUrl | None = None


class Build(Strict):
    """How the current build's id is found. In ``name``, ``{build}`` stands for it: a word that begins with a digit.

    same-digest: another line of the checksum document with the digest of a moving name. listing: the newest entry of
    the directory at ``url``. redirect: the place that ``url`` redirects to. side-file: the document at ``url``.
    simplestreams and fedora-releases: those indexes at ``url``. ``containing`` is text that a build id has to hold,
    for names in which more than the build varies: several variants of one disk, say.
    """

    kind: Literal["same-digest", "listing", "redirect", "side-file", "simplestreams", "fedora-releases"]
    url: UrlTemplate | None = None
    name: BuildTemplate
    containing: BuildTemplate | None = None


class Location(Strict):
    """What differs for one architecture."""

    url: BuildUrl | None = None
    checksums: BuildUrl | None = None
    signature: BuildUrl | None = None
    build: Build | None = None


class CloudImage(Strict):
    """The publisher's disk for download. ``checksums`` is the document (or index) that names its digest; where an
    index also names the file, ``url`` is what its URL must begin with and ``item`` is what to look up there.

    ``compression`` and ``archive`` say what the disk is packed in, and ``member`` its name in the archive (default: the
    only one that ends like a disk's); ``digest_of`` whether the digest is over the file or over the disk in it.
    """

    kind: Literal["checksum-file", "debian-json", "coreos-stream", "oracle-template"] = "checksum-file"
    url: BuildUrl
    checksums: BuildUrl
    shape: Literal["lines", "sectioned", "bare"] = "lines"
    item: BuildTemplate | None = None
    algorithm: Literal["sha256", "sha384", "sha512"]
    format: Literal["qcow2", "raw", "vmdk"]
    compression: Literal["none", "gz", "xz", "bz2", "zst"] = "none"
    archive: Literal["tar"] | None = None
    member: MemberName | None = None
    digest_of: Literal["file", "content"] = "file"
    build: Build | None = None
    trust: Trust
    per_architecture: dict[Arch, Location] = Field(default_factory=dict)
