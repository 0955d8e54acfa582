"""Verify a published image as a stranger: all that is needed is the reference and the public key, or the identity that
signed keyless.

What is proved: the index and every image in it carry a signature (not merely an attestation, which ``cosign verify``
takes for one) by the key, made for this repository; and a tag names an index that was signed for that tag. So a tag
that was moved to another image is refused even if the key signed that image for other tags. What a signature cannot
prove is that a moving tag names the *newest* image that was signed for it: pin the digest.

What the signer attested of the images' tests is told beside it; it decides nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kmi.errors import UsageError, VerificationError
from kmi.model.digest import Digest
from kmi.oci import reference as references
from kmi.oci import registry
from kmi.oci.layout import MANIFEST, load, manifests
from kmi.oci.reference import Reference
from kmi.publish import attest, cosign
from kmi.publish.attest import TestResult
from kmi.publish.keyless import Identity

_IMAGES = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A reference that held. ``children`` are an index's images with their architectures (none for a single image),
    ``tags`` all that ``digest`` was signed for, ``key`` the SHA-256 of the public key or the identity, ``signed_for``
    the repository that the signatures name. ``results`` are the test results of each image, by its architecture (a
    single image's is not known here: ``image``)."""

    repository: str
    digest: Digest
    children: tuple[tuple[str, Digest], ...]
    tags: tuple[str, ...]
    key: Digest | Identity
    signed_for: str
    results: tuple[tuple[str, tuple[TestResult, ...]], ...]

    @property
    def reference(self) -> str:
        return f"{self.repository}@{self.digest}"


def verify(
    reference: Reference | str, public_key: Path | Identity, *, signed_for: str | None = None, log: Path | None = None
) -> Verified:
    """Verify ``reference`` (by tag, by digest, or both: then the tag must name the digest) with ``public_key``.

    ``signed_for`` is the repository that the signatures must name where the image was mirrored to another one.
    VerificationError if anything does not hold, NetworkError if the registry fails or lacks it, UsageError for a
    malformed reference or key.
    """
    wanted = references.parse(reference) if isinstance(reference, str) else reference
    if wanted.tag is None and wanted.digest is None:
        raise UsageError("nothing to verify", expected="a tag or a digest", got=wanted, hint=f"write {wanted.name}:TAG")
    home = references.parse(signed_for or wanted.name).name
    key = public_key if isinstance(public_key, Identity) else cosign.fingerprint(public_key)
    pinned = wanted.pinned(_digest(wanted))
    children = _children(pinned)
    tags = _signed(pinned, public_key, home, "the index" if children else "the image", log)
    if wanted.tag and wanted.tag not in tags:
        raise VerificationError(
            f"the tag {wanted.tag} was moved to an image that was not signed for it",
            expected=f"a signature for the tag {wanted.tag}",
            got=f"{pinned.digest}, signed for: {', '.join(tags) or 'no tag'}",
            where=wanted,
            hint="do not use it; compare with the digest that the publisher names",
        )
    for arch, digest in children:
        _signed(wanted.pinned(digest), public_key, home, f"the {arch} image", log)
    assert pinned.digest is not None
    images = children or (("image", pinned.digest),)
    return Verified(
        repository=wanted.name,
        digest=pinned.digest,
        children=children,
        tags=tags,
        key=key,
        signed_for=home,
        results=tuple((arch, attest.results(wanted.pinned(one), public_key, log)) for arch, one in images),
    )


def _digest(wanted: Reference) -> Digest:
    """The digest to verify; where there are tag and digest, the tag must name it."""
    if wanted.tag is None and wanted.digest is not None:
        return wanted.digest
    found = registry.resolve(references.parse(f"{wanted.name}:{wanted.tag}"))
    if wanted.digest and found != wanted.digest:
        raise VerificationError(
            f"the tag {wanted.tag} names another image",
            expected=wanted.digest,
            got=found,
            where=wanted,
            hint=f"for the image that you pinned: {wanted.pinned(wanted.digest)}",
        )
    return found


def _children(pinned: Reference) -> tuple[tuple[str, Digest], ...]:
    """The images of an index; empty if it is an image itself. VerificationError for an index of anything else."""
    value = load(registry.raw_manifest(pinned))
    if "manifests" not in value:
        return ()
    children = manifests(value)
    strange = [child.media_type for child in children if child.media_type not in _IMAGES]
    if strange or not children:
        raise VerificationError(
            "not an index of images", expected=MANIFEST, got=", ".join(strange) or "an empty index", where=pinned
        )
    return tuple((child.architecture or "unknown", child.digest) for child in children)


def _signed(pinned: Reference, public_key: Path | Identity, home: str, what: str, log: Path | None) -> tuple[str, ...]:
    """The tags that the image at a digest was signed for. VerificationError if it was not signed for ``home``."""
    found = cosign.signatures(pinned, public_key, log)
    if not found:
        raise VerificationError(
            f"{what} has no signature by this key",
            expected=f"a signature ({cosign.SIGNATURE}) that verifies with {public_key}",
            got="none",
            where=pinned,
            hint="do not use it; or it was signed with another key: ask its publisher",
        )
    here = [one for one in found if one.repository == home]
    if not here:
        names = sorted({one.repository or "no repository" for one in found})
        raise VerificationError(
            f"{what} was signed for another repository",
            expected=home,
            got=", ".join(names),
            where=pinned,
            hint=f"if this is a mirror of it: --signed-for {names[0]}",
        )
    return tuple(dict.fromkeys(tag for one in here for tag in one.tags))
