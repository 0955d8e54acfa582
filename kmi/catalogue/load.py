"""The folder of manifests, read whole: every image there is, or every error there is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kmi.catalogue import document, faults, rules, schema
from kmi.catalogue.document import Fault
from kmi.catalogue.specs import specs
from kmi.errors import UsageError
from kmi.model.spec import ImageSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All images of all manifests, sorted by distro; releases and architectures as the manifest lists them."""

    specs: tuple[ImageSpec, ...]


def load(directory: Path) -> Catalogue:
    """Read ``<directory>/*.yaml``. UsageError with every fault of every file, each with file and line."""
    paths = sorted(directory.glob("*.yaml"))
    if not paths:
        raise UsageError(
            "there are no manifests",
            expected="<distro>.yaml",
            where=directory,
            hint="name the folder with --distros, or run kmi where it is",
        )
    found: list[ImageSpec] = []
    wrong: list[tuple[str, str]] = []
    for path in paths:
        images, bad = _manifest(path)
        found += images
        wrong += [(f"{shown(path)}:{fault.line}", fault.message) for fault in sorted(bad)]
    if wrong:
        lines = "".join(f"\n  {where}: {message}" for where, message in wrong)
        count = f"{len(wrong)} errors" if len(wrong) > 1 else "an error"
        raise UsageError(f"{count} in the manifests:{lines}", where=wrong[0][0])
    return Catalogue(specs=tuple(found))


def shown(path: Path) -> str:
    """As people and annotations want it: relative to the working directory where it lies below."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _manifest(path: Path) -> tuple[list[ImageSpec], list[Fault]]:
    try:
        with path.open("rb") as file:
            data = file.read(document.SIZE_LIMIT + 1)
    except OSError as error:
        return [], [Fault(line=1, message=f"cannot be read: {error.strerror}")]
    read = document.read(data)
    if read.value is None:
        return [], read.faults
    manifest, errors = schema.validate(read.value)
    bad = [*read.faults, *faults.of_schema(errors, read)]
    if manifest is not None:
        bad += [faults.at(read, place, message) for place, message in rules.broken(manifest, path)]
    if manifest is None or bad:
        return [], bad
    name = shown(path)
    return list(specs(manifest, path.parent, lambda number: f"{name}:{read.line(('releases', number))}")), []
