"""Give a signed and verified index its tags: the immutable ones first, the moving ones last.

A tag is a copy from digest to tag inside the repository: no blob moves. The immutable tags are all in, and read back,
before the first moving tag moves; so whoever pulls by a moving tag finds a complete, signed image at every moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kmi.errors import KmiError, VerificationError
from kmi.host.ui import Step
from kmi.model.digest import Digest
from kmi.model.stages import Attested, Promoted
from kmi.oci import reference as references
from kmi.oci import registry
from kmi.oci.attempts import patiently
from kmi.oci.reference import Reference
from kmi.oci.trouble import Kind, RegistryError
from kmi.publish.push import copy_once
from kmi.publish.tags import immutable_tags


def promote(attested: Attested, *, log: Path | None = None, step: Step | None = None) -> Promoted:
    """Tag the index with ``attested.tags`` (the immutable one first) and its images with theirs.

    VerificationError if an immutable tag names something else (then nothing was tagged) or a tag that was read back
    does; RegistryError if the registry fails. Where some tags moved before that, the error says which.
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
    for done, (tag, digest) in enumerate(missing):
        if step:
            step.count(done + 1, len(missing), f"tags: {tag}")
        try:
            _tag(repository.tagged(tag), digest, found[tag], fixed=(tag, digest) in fixed, log=log, step=step)
        except KmiError as error:
            error.hint = _told([tag for tag, _ in missing], done, error.hint)
            raise
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


def _tag(
    target: Reference, digest: Digest, before: Digest | None, *, fixed: bool, log: Path | None, step: Step | None
) -> None:
    """Have the tag name ``digest`` instead of ``before``, and read it back. An immutable one (``fixed``) is looked at
    again before each try. VerificationError if it names something else after."""

    def once() -> None:
        if fixed:
            _free(target, digest, registry.exists(target))
        copy_once(registry.transport(target.pinned(digest)), target, log=log)
        found = registry.exists(target)
        if found == digest:
            return
        if found != before:
            raise VerificationError("a tag was moved meanwhile", expected=digest, got=found, where=target)
        error = RegistryError(
            "the registry took a tag and did not move it",
            expected=digest,
            got=found or "404 when it is asked for",
            where=f"PUT /v2/{target.path}/manifests/{target.tag}",
            hint="run the same command again",
        )
        error.kind = Kind.BROKEN
        raise error

    patiently(once, step.note if step else None)


def _told(tags: Sequence[str], done: int, hint: str | None) -> str:
    """Which tags moved and which did not, before what else there is to say."""
    moved, left = " ".join(tags[:done]) or "none", " ".join(tags[done:])
    return "; ".join(filter(None, (f"tags that were set: {moved}; not yet: {left}", hint)))
