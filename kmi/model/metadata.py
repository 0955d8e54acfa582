"""The one metadata table: what an image says about itself.

Labels, annotations, the entrypoint, ``kmi inspect``, ``kmi vm`` and the boot test all read this table. A record
maps field names to strings; an empty string means that the field does not apply. The record is fixed when the
image is wrapped and never changes after (a registry addresses it by digest).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PREFIX = "dev.kmi."
"""kmi's own label keys; ``org.opencontainers.image.`` is the image specification's (annotations.md)."""

_OCI = "org.opencontainers.image."


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A row: its name for people and for ``docker run IMAGE <name>``, its meaning, and its label key."""

    name: str
    meaning: str
    label: str
    per_architecture: bool = False


FIELDS: tuple[Field, ...] = (
    Field(name="title", meaning="what the image is", label=_OCI + "title"),
    Field(name="distro", meaning="distribution", label=PREFIX + "distro"),
    Field(name="release", meaning="release of the distribution", label=PREFIX + "release"),
    Field(name="codename", meaning="code name of the release", label=PREFIX + "codename"),
    Field(name="version", meaning="release and publisher's build", label=_OCI + "version"),
    Field(name="build", meaning="publisher's build", label=PREFIX + "upstream.build", per_architecture=True),
    Field(name="released", meaning="when the publisher released it (UTC)", label=_OCI + "created"),
    Field(name="architecture", meaning="machine architecture", label=PREFIX + "architecture", per_architecture=True),
    Field(name="download", meaning="where the publisher's image came from", label=PREFIX + "upstream.url",
          per_architecture=True),
    Field(name="checksum", meaning="checksum that was validated", label=PREFIX + "upstream.checksum",
          per_architecture=True),
    Field(name="trust", meaning="what proves the checksum", label=PREFIX + "upstream.trust"),
    Field(name="pulled", meaning="when it was fetched (UTC)", label=PREFIX + "upstream.pulled",
          per_architecture=True),
    Field(name="documentation", meaning="the publisher's documentation", label=_OCI + "documentation"),
    Field(name="licence", meaning="licence", label=_OCI + "licenses"),
    Field(name="licence-url", meaning="where the licence stands", label=PREFIX + "licence.url"),
    Field(name="eula", meaning="end-user agreement", label=PREFIX + "eula"),
    Field(name="eula-url", meaning="where the agreement stands", label=PREFIX + "eula.url"),
    Field(name="source", meaning="source of this image", label=_OCI + "source"),
    Field(name="revision", meaning="commit of that source", label=_OCI + "revision"),
    Field(name="builder", meaning="what built it", label=PREFIX + "builder"),
    Field(name="customizer", meaning="how the disk was customised", label=PREFIX + "customizer",
          per_architecture=True),
    Field(name="packages", meaning="packages that were added", label=PREFIX + "packages"),
    Field(name="as-of", meaning="date of the package archives", label=PREFIX + "as-of"),
    Field(name="kernel", meaning="kernel", label=PREFIX + "kernel", per_architecture=True),
    Field(name="firmware", meaning="firmware it boots from", label=PREFIX + "firmware", per_architecture=True),
    Field(name="init", meaning="first-boot provisioning", label=PREFIX + "init"),
    Field(name="user", meaning="default user", label=PREFIX + "user"),
    Field(name="agent", meaning="QEMU guest agent", label=PREFIX + "agent"),
    Field(name="instancetype", meaning="default instance type", label=PREFIX + "instancetype"),
    Field(name="preference", meaning="default preference", label=PREFIX + "preference", per_architecture=True),
    Field(name="disk-format", meaning="disk format", label=PREFIX + "disk.format"),
    Field(name="disk-digest", meaning="digest of the disk", label=PREFIX + "disk.digest", per_architecture=True),
    Field(name="disk-size", meaning="size of the disk file in bytes", label=PREFIX + "disk.size",
          per_architecture=True),
    Field(name="virtual-size", meaning="size of the root disk in bytes", label=PREFIX + "disk.virtual-size"),
    Field(name="base", meaning="base image", label=_OCI + "base.name"),
    Field(name="base-digest", meaning="digest of the base image", label=_OCI + "base.digest",
          per_architecture=True),
)  # fmt: skip

BY_NAME = {field.name: field for field in FIELDS}
RECORDED_LATE = frozenset({"pulled", "revision"})
"""Fields that tell when and from which commit a stage ran; they are in no stage key."""

Metadata = Mapping[str, str]
"""A record: every name of ``FIELDS``, each with its value."""


def record(**values: str) -> dict[str, str]:
    """A complete record in table order; ``_`` in a keyword stands for ``-``. ValueError for an unknown field, a
    missing one, or a value with a line break (labels are one line)."""
    given = {name.replace("_", "-"): value for name, value in values.items()}
    unknown = sorted(given.keys() - BY_NAME.keys())
    missing = sorted(BY_NAME.keys() - given.keys())
    if unknown or missing:
        raise ValueError(f"metadata record: unknown fields {unknown}, missing fields {missing}")
    broken = sorted(name for name, value in given.items() if any(ord(c) < 32 or ord(c) == 127 for c in value))
    if broken:
        raise ValueError(f"metadata record: control characters in {broken}")
    return {field.name: given[field.name] for field in FIELDS}


def labels(metadata: Metadata) -> dict[str, str]:
    """The record as labels and annotations, empty fields left out, sorted by key."""
    return dict(sorted((BY_NAME[name].label, value) for name, value in metadata.items() if value))


def shared_labels(metadata: Metadata) -> dict[str, str]:
    """The labels that hold for every architecture: the annotations of the index."""
    return labels({name: value for name, value in metadata.items() if not BY_NAME[name].per_architecture})


def of_labels(found: Mapping[str, str]) -> dict[str, str]:
    """Read a record back from an image's labels; unknown labels are ignored, absent fields are empty."""
    return {field.name: found.get(field.label, "") for field in FIELDS}
