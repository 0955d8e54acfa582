"""The read side of registries, through skopeo, which knows every kind of login (containers-auth.json(5)).

What is read is proved here by its digest; no header of a registry is believed. Plain HTTP is spoken with this
machine's own registries only.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from kmi.errors import UsageError, VerificationError
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.oci.attempts import patiently
from kmi.oci.layout import CONFIG, Descriptor, Layout, load
from kmi.oci.reference import Reference
from kmi.oci.skopeo import skopeo
from kmi.oci.trouble import NotFound, RegistryError

__all__ = ["NotFound", "RegistryError", "config", "exists", "pull", "raw_manifest", "resolve", "transport"]


def transport(reference: Reference) -> str:
    """skopeo's word for the reference: by digest where there is one (it refuses a tag beside a digest)."""
    by = f"@{reference.digest}" if reference.digest else f":{reference.tag or 'latest'}"
    return f"docker://{reference.name}{by}"


def raw_manifest(reference: Reference) -> bytes:
    """The manifest or index as the registry stores it. NotFound, NetworkError, or VerificationError if the reference
    has a digest and the bytes do not match it."""
    raw = _read(reference, "inspect", *_tls(reference), "--raw", transport(reference)).encode()
    if reference.digest and (got := _digest(raw, reference.digest.algorithm)) != reference.digest:
        raise VerificationError("a registry sent another manifest", expected=reference.digest, got=got, where=reference)
    return raw


def resolve(reference: Reference) -> Digest:
    """The digest that the reference means now. NotFound, NetworkError."""
    return _digest(raw_manifest(reference))


def exists(reference: Reference) -> Digest | None:
    """The digest, or None if the registry holds no such tag, digest or repository. NetworkError if it fails."""
    try:
        return resolve(reference)
    except NotFound:
        return None


def config(reference: Reference) -> bytes:
    """The image config of one image manifest by digest, proved by the digest in the manifest."""
    if reference.digest is None:
        raise UsageError("a config is read by digest", got=str(reference))
    descriptor = Descriptor.of_json(load(raw_manifest(reference)).get("config"))
    if descriptor.media_type not in (CONFIG, "application/vnd.docker.container.image.v1+json"):
        raise VerificationError("not a container image", expected=CONFIG, got=descriptor.media_type, where=reference)
    raw = _read(reference, "inspect", *_tls(reference), "--config", "--raw", transport(reference)).encode()
    if (got := _digest(raw, descriptor.digest.algorithm)) != descriptor.digest:
        raise VerificationError("a registry sent another config", expected=descriptor.digest, got=got, where=reference)
    return raw


def pull(reference: Reference, into: Path, arch: Arch | None = None) -> Layout:
    """Copy an image by digest into a new layout: all of its index byte by byte, or one architecture's image (then with
    OCI media types, whatever the registry holds). UsageError without a digest; NotFound, NetworkError."""
    if reference.digest is None:
        raise UsageError("an image is pulled by digest", got=str(reference), hint="resolve the tag first")
    source_tls = [word.replace("--tls", "--src-tls") for word in _tls(reference)]
    if arch is None:
        wanted, what = [], ["--all", "--preserve-digests"]
    else:
        wanted, what = ["--override-os", "linux", "--override-arch", arch.value], ["--format", "oci"]
    words = [*wanted, "copy", "--quiet", *what, *source_tls, "--dest-oci-accept-uncompressed-layers"]

    def once() -> None:
        shutil.rmtree(into, ignore_errors=True)  # what a failed try left
        skopeo(reference, *words, transport(reference), f"oci:{into}", what=f"cannot pull {reference}")

    patiently(once)
    return Layout.open(into)


def _read(reference: Reference, *words: str) -> str:
    return patiently(lambda: skopeo(reference, *words, what=f"cannot read {reference}").stdout)


def _tls(reference: Reference) -> list[str]:
    return ["--tls-verify=false"] if reference.loopback else []


def _digest(data: bytes, algorithm: str = "sha256") -> Digest:
    return Digest(algorithm=algorithm, hex=hashlib.new(algorithm, data).hexdigest())
