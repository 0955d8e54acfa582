"""The catalogue as a chart: one row for each release, for people; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec, Tier

DOWNLOAD, BOOTSTRAP, OWN_DISK = "download", "bootstrap", "byo"

Way = tuple[str, str]
"""Where a disk comes from, and what proves it: a signature's kind, ``tls-only``, ``apt`` (the archive's own key) or
``user`` (whoever brings the disk)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One release with its ``images``, one for each architecture; ``ways`` are those of all of them."""

    images: tuple[ImageSpec, ...]
    ways: tuple[Way, ...]

    @property
    def first(self) -> ImageSpec:
        """For what all architectures share."""
        return self.images[0]

    @property
    def architectures(self) -> frozenset[Arch]:
        return frozenset(image.id.arch for image in self.images)

    @property
    def planned(self) -> bool:
        return self.first.tier is Tier.PLANNED

    def past(self, today: date) -> bool:
        """Whether the publisher's support has ended; the last day still counts."""
        return self.first.end_of_life is not None and self.first.end_of_life < today


def rows(specs: Iterable[ImageSpec]) -> tuple[Row, ...]:
    """The releases, sorted by distro, and as the manifest lists them within it."""
    found: dict[tuple[str, str], list[ImageSpec]] = {}
    for spec in specs:
        found.setdefault((spec.id.distro, spec.id.release), []).append(spec)
    return tuple(
        Row(images=tuple(images), ways=tuple(dict.fromkeys(way for image in images for way in ways(image))))
        for _, images in sorted(found.items(), key=lambda item: item[0][0])
    )


def ways(spec: ImageSpec) -> tuple[Way, ...]:
    """The ways to an image's disk, the default one first; none for an image that is only planned without one."""
    found: list[Way] = []
    if spec.cloud_image:
        found.append((DOWNLOAD, spec.cloud_image.trust.kind))
    if spec.archive:
        found.append((BOOTSTRAP, "apt"))
    if spec.own_disk:
        found.append((OWN_DISK, "user"))
    return tuple(found)
