"""Push an index, its images and their blobs by digest. No tag is touched.

skopeo takes a digest as destination (``docker://repository@sha256:…``): it uploads the blobs that the registry lacks,
then each child manifest by digest, then the index by digest, and refuses if the index's bytes do not have that digest.
``--preserve-digests`` forbids it to convert anything on the way. A second push finds everything there.
"""

from __future__ import annotations

from pathlib import Path

from kmi.errors import BuildError, InternalError, NetworkError
from kmi.host.run import run
from kmi.host.ui import Step
from kmi.model.stages import OciIndex, Published
from kmi.oci import reference, registry
from kmi.oci.layout import Layout
from kmi.oci.reference import Reference

_RETRIES = 3
_TIMEOUT = 6 * 3600.0
"""Seconds: a slow line and ten gigabytes; only a registry that hangs forever runs into it."""


def push(index: OciIndex, repository: str, *, log: Path | None = None, step: Step | None = None) -> Published:
    """Copy ``index`` to ``repository`` (``host[:port]/path``) and read every manifest back.

    Raises UsageError for a malformed repository, NetworkError if the registry fails, VerificationError if what it
    gives back has another digest.
    """
    target = reference.parse(repository).pinned(index.digest)
    _check_roots(index)
    copy("oci:.", target, cwd=index.layout, log=log, step=step)  # a path with a colon would not be read as one
    children = tuple((image.id.arch, image.digest) for image in index.images)
    for digest in (index.digest, *(digest for _, digest in children)):
        registry.raw_manifest(target.pinned(digest))
    return Published(repository=repository, digest=index.digest, children=children)


def copy(
    source: str, target: Reference, *, cwd: Path | None = None, log: Path | None = None, step: Step | None = None
) -> None:
    """``skopeo copy`` of an index and all it refers to, digests unchanged. Plain HTTP only on the loopback.
    NetworkError with skopeo's last words if it fails."""
    argv = ["skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--retry-times", str(_RETRIES)]
    if target.loopback:
        argv += ["--src-tls-verify=false", "--dest-tls-verify=false"]
    try:
        argv += [source, f"docker://{target}"]
        run(argv, cwd=cwd, log=log, timeout=_TIMEOUT, on_line=step.detail if step else None)
    except BuildError as error:
        raise NetworkError(
            f"{target.host} did not take the image",
            expected=error.expected,
            got=error.got,
            where=target,
            hint="a login: `skopeo login` or `docker login`; what was pushed stays, run the command again",
            log=log,
        ) from error


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
