"""Tags that keep signatures from garbage collection.

A registry without the referrers API keeps the list of an image's signatures in the tag ``sha256-<hex>``
(distribution-spec, "Referrers Tag Schema"); the signatures themselves have no tag. ``docker-registry garbage-collect
--delete-untagged`` (2.8) and the usual clean-up of untagged versions delete them then, and leave a list that names what
is gone: nothing verifies any more, and the registry refuses a longer list, so the image cannot even be signed again.
"""

from __future__ import annotations

from pathlib import Path

from kmi.model.digest import Digest
from kmi.oci import reference as references
from kmi.oci import registry
from kmi.oci.layout import load, manifests
from kmi.oci.reference import Reference
from kmi.publish.push import copy


def hold(repository: str, subjects: tuple[Digest, ...], *, log: Path | None = None) -> None:
    """Give every signature of ``subjects`` a tag. Nothing to do where the registry has the referrers API: it keeps what
    refers to a tagged image. NetworkError if the registry fails."""
    home = references.parse(repository)
    for subject in subjects:
        for signature in _listed(home.tagged(_list(subject))):
            tag = home.tagged(f"{_list(subject)}.held-{signature.hex[:12]}")
            if registry.exists(tag) != signature:
                copy(registry.transport(home.pinned(signature)), tag, log=log)


def _list(subject: Digest) -> str:
    return f"{subject.algorithm}-{subject.hex}"


def _listed(tag: Reference) -> tuple[Digest, ...]:
    found = registry.exists(tag)
    if found is None:
        return ()
    return tuple(one.digest for one in manifests(load(registry.raw_manifest(tag.pinned(found)))))
