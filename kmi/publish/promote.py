"""Give a signed and verified index its tags: the immutable ones first, the moving ones last.

A tag is a copy from digest to tag inside the repository: no blob moves. The immutable tags are all in, and read back,
before the first moving tag moves; so whoever pulls by a moving tag finds a complete, signed image at every moment.
"""

from __future__ import annotations

from pathlib import Path

from kmi.errors import VerificationError
from kmi.host.ui import Step
from kmi.model.digest import Digest
from kmi.model.stages import Attested, Promoted
from kmi.oci import reference as references
from kmi.oci import registry
from kmi.oci.reference import Reference
from kmi.publish.push import copy
from kmi.publish.tags import immutable_tags


def promote(attested: Attested, *, log: Path | None = None, step: Step | None = None) -> Promoted:
    """Tag the index with ``attested.tags`` (the immutable one first) and its images with theirs.

    VerificationError if an immutable tag names something else (then nothing was tagged) or a tag that was read back
    does; NetworkError if the registry fails.
    """
    published = attested.published
    immutable, *moving = attested.tags
    fixed = immutable_tags(published, immutable)
    due = (*fixed, *((tag, published.digest) for tag in moving))
    repository = references.parse(published.repository)
    found = {tag: registry.exists(repository.tagged(tag)) for tag, _ in due}
    for tag, digest in fixed:
        _free(repository.tagged(tag), digest, found[tag])
    missing = [(tag, digest) for tag, digest in due if found[tag] != digest]
    for number, (tag, digest) in enumerate(missing, 1):
        if step:
            step.count(number, len(missing), f"tags: {tag}")
        _tag(repository.tagged(tag), digest, log)
    if step and missing:
        step.done(" ".join(attested.tags))
    elif step:
        step.reuse(f"{len(due)} tags are there")
    return Promoted(published=published, tags=attested.tags)


def _free(target: Reference, digest: Digest, found: Digest | None) -> None:
    if found not in (None, digest):
        raise VerificationError(
            f"the immutable tag {target.tag} names another image",
            expected=digest,
            got=found,
            where=target,
            hint="another run took it: run the command again to get the next number",
        )


def _tag(target: Reference, digest: Digest, log: Path | None) -> None:
    """Have the tag name ``digest``. VerificationError if it names something else after."""
    copy(registry.transport(target.pinned(digest)), target, log=log)
    if (found := registry.resolve(target)) != digest:
        raise VerificationError("a tag was moved meanwhile", expected=digest, got=found, where=target)
