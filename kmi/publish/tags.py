"""Which tags an index gets. They are planned before it is signed, because the signature names them.

An immutable tag for each build, ``<release>-<YYYYMMDD>-<n>``, and one for each of its images, ``<that>-<arch>``: a
registry's garbage collection deletes what no tag holds. Then the moving ones: the release, its code name, and
``latest`` for the default release.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from itertools import count
from pathlib import Path

from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.stages import Published
from kmi.oci import reference, registry
from kmi.publish import cosign
from kmi.publish.keyless import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class TagPlan:
    """The tags of one index. ``all`` is what is signed and promoted: the immutable tag first."""

    immutable: str
    moving: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return (self.immutable, *self.moving)


def plan_tags(
    published: Published,
    *,
    release: str,
    codename: str,
    default: bool,
    day: date,
    public_key: Path | Identity | None = None,
    log: Path | None = None,
) -> TagPlan:
    """Plan the tags of ``published``.

    An index that was signed before (by the private half of ``public_key``, or keyless by that identity) keeps its
    immutable tag, also on another day. A new one gets the lowest n of ``day`` whose tags are free or already name this
    very index and its images. UsageError if the release or code name makes no tag, NetworkError if the registry fails.
    """
    moving = moving_tags(release, codename, default=default)
    index = reference.parse(published.reference)
    for tag in moving:
        index.tagged(tag)
    signatures = cosign.signatures(index, public_key, log) if public_key else ()
    signed = [tag for one in signatures if one.repository == published.repository for tag in one.tags]
    before = re.compile(re.escape(release) + r"-\d{8}-[1-9]\d*")
    for tag in filter(before.fullmatch, signed):
        if not _taken(published, tag):
            return TagPlan(immutable=tag, moving=moving)
    new = (f"{release}-{day:%Y%m%d}-{n}" for n in count(1))
    return TagPlan(immutable=next(tag for tag in new if not _taken(published, tag)), moving=moving)


def moving_tags(release: str, codename: str, *, default: bool) -> tuple[str, ...]:
    """The tags that follow the newest build, each once."""
    return tuple(dict.fromkeys(filter(None, (release, codename, "latest" if default else ""))))


def child_tag(immutable: str, arch: Arch) -> str:
    """The immutable tag of one architecture's image."""
    return f"{immutable}-{arch}"


def immutable_tags(published: Published, immutable: str) -> tuple[tuple[str, Digest], ...]:
    """Each immutable tag with the digest that it must name: the index's, then its images'."""
    children = ((child_tag(immutable, arch), digest) for arch, digest in published.children)
    return ((immutable, published.digest), *children)


def _taken(published: Published, immutable: str) -> bool:
    """Whether one of the immutable tags names something else already."""
    repository = reference.parse(published.repository)
    return any(
        registry.exists(repository.tagged(tag)) not in (None, digest)
        for tag, digest in immutable_tags(published, immutable)
    )
