"""Push an index, its images and their blobs by digest. No tag is touched.

skopeo takes a digest as destination (``docker://repository@sha256:…``): it uploads the blobs that the registry lacks,
then each child manifest by digest, then the index by digest, and refuses if the index's bytes do not have that digest.
``--preserve-digests`` forbids it to convert anything on the way.

An answer of 201 proves nothing. So the copy is made again until it finds every blob there and brings none, and every
manifest is read back.
"""

from __future__ import annotations

from pathlib import Path

from kmi.errors import InternalError
from kmi.host.ui import Step
from kmi.model.digest import Digest
from kmi.model.stages import OciIndex, Published
from kmi.oci import reference, registry
from kmi.oci.attempts import patiently
from kmi.oci.layout import Layout
from kmi.oci.reference import Reference
from kmi.oci.skopeo import Answer, skopeo
from kmi.oci.trouble import Kind, RegistryError

_ROUNDS = 4
"""Copies at most: one brings the blobs, one finds them there, and two more are for a registry that lost some."""


def push(index: OciIndex, repository: str, *, log: Path | None = None, step: Step | None = None) -> Published:
    """Copy ``index`` to ``repository`` (``host[:port]/path``), see that all of its blobs are there, and read every
    manifest back.

    Raises UsageError for a malformed repository, RegistryError if the registry fails or keeps nothing,
    VerificationError if what it gives back has another digest.
    """
    target = reference.parse(repository).pinned(index.digest)
    _check_roots(index)
    done = _until_there(index, target, log, step)
    children = tuple((image.id.arch, image.digest) for image in index.images)
    for digest in (index.digest, *(digest for _, digest in children)):
        _read_back(target, digest, done)
    return Published(repository=repository, digest=index.digest, children=children)


def _until_there(index: OciIndex, target: Reference, log: Path | None, step: Step | None) -> Answer:
    """Copy until a copy finds every blob there; that one's answer."""
    uploads: tuple[str, ...] = ()
    for _ in range(_ROUNDS):
        done = copy("oci:.", target, cwd=index.layout, log=log, step=step)  # a path with a colon is not read as one
        if not (uploads := done.uploads):
            return done
    raise _lost(target, "the registry took blobs and does not have them", uploads[-1])


def copy(
    source: str, target: Reference, *, cwd: Path | None = None, log: Path | None = None, step: Step | None = None
) -> Answer:
    """``copy_once``, and again if the registry or the network failed in a way that may be over soon."""
    note = step.note if step else None
    return patiently(lambda: copy_once(source, target, cwd=cwd, log=log, step=step), note)


def copy_once(
    source: str, target: Reference, *, cwd: Path | None = None, log: Path | None = None, step: Step | None = None
) -> Answer:
    """``skopeo copy`` of an index and all it refers to, digests unchanged. Plain HTTP only on the loopback.
    RegistryError with the request that failed."""
    words = ["copy", "--all", "--preserve-digests"]
    if target.loopback:
        words += ["--src-tls-verify=false", "--dest-tls-verify=false"]
    return skopeo(
        target,
        *words,
        source,
        f"docker://{target}",
        what=f"{target.host} did not take the image",
        cwd=cwd,
        log=log,
        on_line=step.detail if step else None,
    )


def _read_back(target: Reference, digest: Digest, done: Answer) -> None:
    """See that a manifest is there. A registry whose parts hear of it a little later gets the time."""
    subject = target.pinned(digest)
    try:
        patiently(lambda: registry.raw_manifest(subject), also=Kind.ABSENT)
    except registry.NotFound as error:
        put = (one for one in done.requests if one.startswith("PUT") and one.endswith(str(digest)))
        raise _lost(subject, "the registry took a manifest and does not have it", next(put, "")) from error


def _lost(target: Reference, what: str, request: str) -> RegistryError:
    return RegistryError(
        what,
        expected='what an answer of 201 promises (distribution-spec, "Push")',
        got="404 when it is asked for",
        where=request.partition("?")[0] or target,
        hint=f"nothing was tagged; the log of {target.host} may tell why; then run the same command again",
    )


def _check_roots(index: OciIndex) -> None:
    """skopeo's ``oci:`` names no digest: it takes the layout's only root, so that must be the index."""
    roots = Layout.open(index.layout).roots()
    if [root.digest for root in roots] != [index.digest]:
        raise InternalError(
            "the layout's only root is not the index",
            expected=index.digest,
            got=", ".join(str(root.digest) for root in roots) or "none",
            where=index.layout,
        )
