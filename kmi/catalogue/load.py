"""The folder of manifests, read whole: every image there is, or every error there is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kmi.catalogue import document, faults, legal, rules, schema
from kmi.catalogue.parts import valid_parts
from kmi.catalogue.specs import specs
from kmi.documents import Fault, Unreadable, contents, place
from kmi.errors import FaultsError, UsageError
from kmi.model.spec import ImageSpec

SUFFIX = ".yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All images of all manifests, sorted by distro; releases and architectures as the manifest lists them."""

    specs: tuple[ImageSpec, ...]


def load(directory: Path) -> Catalogue:
    """Read ``<directory>/*.yaml``. FaultsError with every fault of every file, each with file and line; UsageError
    where there is nothing to read."""
    try:
        names = sorted(os.listdir(directory))  # noqa: PTH208 -- Path.glob keeps silent about what it cannot read
    except OSError as error:
        raise _nothing(directory, str(error.strerror)) from error
    wanted = [directory / name for name in names if name.endswith((SUFFIX, ".yml")) and not name.startswith(".")]
    if not wanted:
        raise _nothing(directory, "no such file in it")
    return load_files(wanted)


def load_files(paths: Sequence[Path]) -> Catalogue:
    """Read these manifests. FaultsError as ``load``."""
    found: list[ImageSpec] = []
    wrong: list[tuple[str, str]] = []
    for path in paths:
        images, bad = _manifest(path)
        found += images
        wrong += [(f"{place(path)}:{fault.line}", fault.message) for fault in faults.first(bad)]
    wrong += _twins(found)
    if wrong:
        raise FaultsError("the manifests", wrong)
    return Catalogue(specs=tuple(found))


def _nothing(directory: Path, why: str) -> UsageError:
    return UsageError(
        "there are no manifests",
        expected=f"<distro>{SUFFIX}",
        got=why,
        where=place(directory),
        hint="name the folder with --distros, or run kmi where it is",
    )


def _twins(found: list[ImageSpec]) -> list[tuple[str, str]]:
    """Two images of one name: ``a`` release ``1-2`` and ``a-1`` release ``2`` would share folders and caches."""
    seen: dict[str, str] = {}
    wrong = []
    for spec in found:
        first = seen.setdefault(str(spec.id), spec.where)
        if first != spec.where:
            wrong.append((spec.where, f"the image {spec.id} is also that of {first}"))
    return wrong


def _manifest(path: Path) -> tuple[list[ImageSpec], list[Fault]]:
    if path.suffix != SUFFIX:
        return [], [Fault(line=1, message=f"a manifest's name ends in {SUFFIX}")]
    try:
        read = document.read(contents(path, document.SIZE_LIMIT))
    except Unreadable as error:
        return [], [error.fault]
    if read.value is None:
        return [], read.faults
    manifest, errors = schema.validate(read.value)
    if manifest is None:
        return [], [*read.faults, *faults.of_schema(errors, read), *_beside(errors, read, path)]
    texts, unreadable = _texts(manifest, path.parent)
    breaks = [*rules.broken(manifest, path), *unreadable]
    if breaks or read.faults:
        return [], [*read.faults, *(faults.at(read, place, message) for place, message in breaks)]
    name = place(path)
    return list(specs(manifest, texts, lambda number: f"{name}:{read.line(('releases', number))}")), []


def _beside(errors: list[dict[str, Any]], read: document.Document, path: Path) -> list[Fault]:
    """The rules that a manifest breaks beside its schema errors, as far as that can be told."""
    if not isinstance(read.value, dict) or len(errors) > faults.LIMIT:
        return []
    parts = valid_parts(schema.Manifest, read.value)
    breaks = [*rules.broken_parts(parts, path), *_texts(parts, path.parent)[1]]
    return [faults.at(read, place, message) for place, message in breaks]


def _texts(manifest: Any, directory: Path) -> tuple[dict[str, str], list[rules.Break]]:
    found: dict[str, str] = {}
    wrong: list[rules.Break] = []
    for name in ("licence", "eula"):
        named = getattr(manifest, name, None)
        try:
            if isinstance(named, schema.LegalText):
                found[name] = legal.text(named, directory)
        except Unreadable as error:
            wrong.append(((name, "file"), str(error)))
    return found, wrong
