"""The read side of registries, through skopeo, which knows every kind of login (containers-auth.json(5)).

What is read is proved here by its digest; no header of a registry is believed. Plain HTTP is spoken with this
machine's own registries only.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from kmi.errors import BuildError, NetworkError, UsageError, VerificationError
from kmi.host.run import run
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.oci.layout import CONFIG, Descriptor, Layout, load
from kmi.oci.reference import Reference

_ABSENT = re.compile(r"manifest unknown|name unknown|StatusCode: 404|status:? 404|404 \(?Not Found", re.IGNORECASE)
_RETRIES = ("--retry-times", "2")


class NotFound(NetworkError):
    """The registry answered, and it holds no such image."""


def transport(reference: Reference) -> str:
    """skopeo's word for the reference: by digest where there is one (it refuses a tag beside a digest)."""
    by = f"@{reference.digest}" if reference.digest else f":{reference.tag or 'latest'}"
    return f"docker://{reference.name}{by}"


def raw_manifest(reference: Reference) -> bytes:
    """The manifest or index as the registry stores it. NotFound, NetworkError, or VerificationError if the reference
    has a digest and the bytes do not match it."""
    raw = _skopeo(reference, "inspect", *_tls(reference), *_RETRIES, "--raw", transport(reference)).encode()
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
    raw = _skopeo(reference, "inspect", *_tls(reference), *_RETRIES, "--config", "--raw", transport(reference)).encode()
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
    _skopeo(
        reference,
        *wanted,
        "copy",
        "--quiet",
        *what,
        *_RETRIES,
        *source_tls,
        "--dest-oci-accept-uncompressed-layers",
        transport(reference),
        f"oci:{into}",
    )
    return Layout.open(into)


def _skopeo(reference: Reference, *words: str) -> str:
    """Run skopeo; its failure becomes NotFound or NetworkError with the request named."""
    try:
        return run(["skopeo", *words]).stdout
    except BuildError as error:
        if _ABSENT.search(str(error.got)):
            raise NotFound(
                f"the registry has no image {reference}",
                got=error.got,
                where=error.where,
                hint="check the name and the tag or digest; a private repository looks absent without a login",
            ) from error
        raise NetworkError(
            f"cannot read {reference}",
            got=error.got,
            where=error.where,
            hint=f"check the network and the login (`skopeo login {reference.host}`)",
        ) from error


def _tls(reference: Reference) -> list[str]:
    return ["--tls-verify=false"] if reference.loopback else []


def _digest(data: bytes, algorithm: str = "sha256") -> Digest:
    return Digest(algorithm=algorithm, hex=hashlib.new(algorithm, data).hexdigest())
