"""Sign an index and each of its images by digest, attest how the images were tested, then verify as a stranger would.

The index's signature names its tags, an image's its one immutable tag, both the repository (``kmi.publish.verify``
holds a reference to that). What is there already is left alone: cosign would add a second one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from kmi.errors import VerificationError
from kmi.host.ui import Step
from kmi.model.digest import Digest
from kmi.model.stages import Attested, Published
from kmi.oci import reference as references
from kmi.oci.attempts import lost, patiently
from kmi.oci.reference import Reference
from kmi.publish import cosign, keys
from kmi.publish.attest import attest
from kmi.publish.hold import hold
from kmi.publish.keyless import Identity
from kmi.publish.keys import KeyPair
from kmi.publish.tags import TagPlan, child_tag
from kmi.publish.verify import verify


def sign(
    published: Published,
    plan: TagPlan,
    signer: KeyPair | Identity,
    *,
    results: Mapping[Digest, Mapping[str, object]] | None = None,
    log: Path | None = None,
    step: Step | None = None,
) -> Attested:
    """Sign what is not signed yet, one digest after the other, and verify it all with the public key alone, or with
    nothing but the name of the identity that signed keyless. ``results`` are the test results to attest (predicates of
    ``attest.TEST_RESULT``) by the digest that was tested.

    BuildError if cosign fails, RegistryError if the registry does, VerificationError if the result does not verify.
    """
    index = references.parse(published.reference)
    subjects = [(index, plan.all)]
    subjects += [(index.pinned(digest), (child_tag(plan.immutable, arch),)) for arch, digest in published.children]
    told = results or {}
    made = attested = 0
    with keys.held(signer) if isinstance(signer, KeyPair) else nullcontext():
        for number, (subject, tags) in enumerate(subjects, 1):
            if step:
                step.count(number, len(subjects), "digests")
            note = step.note if step else None
            made += patiently(partial(_sign, subject, tags, signer, log), note)
            if subject.digest and (result := told.get(subject.digest)):
                attested += patiently(partial(attest, subject, result, signer, log), note)
    hold(published.repository, (published.digest, *(digest for _, digest in published.children)), log=log)
    verified = verify(index, keys.proof(signer), log=log)
    if missing := set(plan.all) - set(verified.tags):
        raise VerificationError(
            "the signature does not name the tags", expected=" ".join(plan.all), got=f"without {sorted(missing)}",
            where=index, log=log,
        )  # fmt: skip
    if step and not made + attested:
        step.reuse(f"{len(subjects)} signatures and {len(told)} test results are there")
    elif step:
        step.done(f"{made} of {len(subjects)} digests signed, {attested} of {len(told)} results attested, all verified")
    public = signer.public if isinstance(signer, KeyPair) else None
    return Attested(published=published, public_key=public, tags=plan.all)


def _sign(subject: Reference, tags: tuple[str, ...], signer: KeyPair | Identity, log: Path | None) -> bool:
    """Sign unless it is signed: also a try whose answer was lost may have done it. Whether there was need to."""
    if _is_signed(subject, tags, keys.proof(signer), log):
        return False
    if isinstance(signer, KeyPair):
        cosign.sign(subject, signer.private, signer.password, tags, log)
    else:
        cosign.sign_keyless(subject, tags, log)
    if not _is_signed(subject, tags, keys.proof(signer), log):
        raise lost("signature", subject, log)
    return True


def _is_signed(subject: Reference, tags: tuple[str, ...], key: Path | Identity, log: Path | None) -> bool:
    found = cosign.signatures(subject, key, log)
    return any(one.repository == subject.name and one.tags == tags for one in found)
