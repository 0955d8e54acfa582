"""Sign an index and each of its images by digest, then verify as a stranger would.

The index's signature names its tags, an image's its one immutable tag, both the repository (``kmi.publish.verify``
holds a reference to that). Signatures that are there already are left alone: cosign would add a second one.
"""

from __future__ import annotations

from pathlib import Path

from kmi.errors import VerificationError
from kmi.host.ui import Step
from kmi.model.stages import Attested, Published
from kmi.oci import reference as references
from kmi.oci.reference import Reference
from kmi.publish import cosign, keys
from kmi.publish.keys import KeyPair
from kmi.publish.tags import TagPlan, child_tag
from kmi.publish.verify import verify


def sign(
    published: Published, plan: TagPlan, pair: KeyPair, *, log: Path | None = None, step: Step | None = None
) -> Attested:
    """Sign what is not signed yet, one digest after the other, and verify it all with the public key alone.

    BuildError if cosign fails, NetworkError if the registry does, VerificationError if the result does not verify.
    """
    index = references.parse(published.reference)
    subjects = [(index, plan.all)]
    subjects += [(index.pinned(digest), (child_tag(plan.immutable, arch),)) for arch, digest in published.children]
    made = 0
    with keys.held(pair):
        for number, (subject, tags) in enumerate(subjects, 1):
            if step:
                step.count(number, len(subjects), "digests")
            if not _is_signed(subject, tags, pair.public, log):
                cosign.sign(subject, pair.private, pair.password, tags, log)
                made += 1
    verified = verify(index, pair.public, log=log)
    if missing := set(plan.all) - set(verified.tags):
        raise VerificationError(
            "the signature does not name the tags", expected=" ".join(plan.all), got=f"without {sorted(missing)}",
            where=index, log=log,
        )  # fmt: skip
    if step and not made:
        step.reuse(f"{len(subjects)} signatures are there")
    elif step:
        step.done(f"{made} of {len(subjects)} digests signed, all verified")
    return Attested(published=published, public_key=pair.public, tags=plan.all)


def _is_signed(subject: Reference, tags: tuple[str, ...], key: Path, log: Path | None) -> bool:
    found = cosign.signatures(subject, key, log)
    return any(one.repository == subject.name and one.tags == tags for one in found)
