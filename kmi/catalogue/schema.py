"""What a manifest may say; every value arrives as text, unknown keys are errors. pydantic stays in this room."""

from __future__ import annotations

import json
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from kmi.catalogue.document import Place
from kmi.catalogue.fields import (
    AbsolutePath,
    Command,
    Day,
    Days,
    DistroName,
    Flag,
    Line,
    Lines,
    Mode,
    Package,
    ResourceName,
    Size,
    Strict,
    Suite,
    TextFile,
    Unique,
    Unit,
    Url,
    User,
    Word,
)
from kmi.catalogue.images import CloudImage, Trust
from kmi.model.platform import Arch, Firmware
from kmi.model.spec import Tier


class LegalText(Strict):
    """A licence or an agreement; its text lies in a file below ``distros/``."""

    name: Line
    url: Url
    file: TextFile


class Agent(Strict):
    """The QEMU guest agent: installed by kmi (then package and service are due), upstream (there already) or absent."""

    state: Literal["installed", "upstream", "absent"] = "installed"
    package: Package | None = None
    service: Unit | None = None


class Bootstrap(Strict):
    """The publisher's signed package archive, and what makes a bootable disk of it: nothing in ``boot_packages`` says
    that none can be made for that architecture."""

    kind: Literal["debian"]
    suite: Suite
    keyring: AbsolutePath
    packages: tuple[Package, ...]
    boot_packages: dict[Arch, tuple[Package, ...]]


class GuestFile(Strict):
    path: AbsolutePath
    content: Lines
    mode: Mode = 0o644


class Waiver(Strict):
    """A criterion that need not hold until a date, and why."""

    criterion: Word
    reason: Line
    until: Day


class OwnDisk(Strict):
    """A disk that the user brings (``--source byo --disk FILE``) because nobody may or does offer it for download."""

    format: Literal["qcow2", "raw", "vmdk"]
    where: Line


class Release(Strict):
    """One release. ``version`` is the release's name in references and selectors; what stands below ``end_of_life``
    takes the place of the manifest's value for this release."""

    version: Word
    codename: Word = ""
    tier: Tier
    default: Flag = False
    architectures: Annotated[tuple[Arch, ...], Field(min_length=1), Unique]
    reason: Line | None = None
    end_of_life: Day | None = None
    successor: Word | None = None
    user: User | None = None
    preference: ResourceName | None = None
    firmware: dict[Arch, Annotated[tuple[Firmware, ...], Field(min_length=1), Unique]] | None = None
    agent: Agent | None = None
    packages: tuple[Package, ...] | None = None
    cloud_image: CloudImage | None = None
    trust: Trust | None = None
    waivers: tuple[Waiver, ...] = ()


class Manifest(Strict):
    """One distro: what is common to its releases, and the releases."""

    distro: DistroName
    title: Line
    documentation: Url
    licence: LegalText
    eula: LegalText | None = None
    user: User
    init: Literal["cloud-init", "ignition", "none"]
    agent: Agent
    instancetype: ResourceName
    preference: ResourceName
    preferences: dict[Arch, ResourceName] = Field(default_factory=dict)
    firmware: dict[Arch, Annotated[tuple[Firmware, ...], Field(min_length=1), Unique]]
    virtual_size: Size = 20 << 30
    max_age: Days | None = None
    redistribution: Literal["allowed", "restricted"] = "allowed"
    redistribution_policy: Url | None = None
    arch_names: dict[Arch, Word] = Field(default_factory=dict)
    own_disk: OwnDisk | None = None
    cloud_image: CloudImage | None = None
    bootstrap: Bootstrap | None = None
    customize: Literal["full", "none"] = "full"
    customize_reason: Line | None = None
    packages: tuple[Package, ...] = ()
    upgrade: Literal["all", "security", "none"] | None = None
    enable: tuple[Unit, ...] = ()
    files: tuple[GuestFile, ...] = ()
    run: tuple[Command, ...] = ()
    room: Size = 0
    releases: Annotated[tuple[Release, ...], Field(min_length=1)]


def validate(value: object) -> tuple[Manifest | None, list[dict[str, Any]]]:
    """The manifest, or every error as pydantic tells it (``type``, ``loc``, ``msg``, ``input``, ``ctx``)."""
    try:
        return Manifest.model_validate(value), []
    except ValidationError as error:
        return None, [dict(entry) for entry in error.errors(include_url=False)]


def known_keys(place: Place) -> list[str]:
    """The keys that the mapping at ``place`` may have, for "did you mean"."""
    root = json_schema()
    at: dict[str, Any] = root
    for part in place:
        at = _resolve(at, root)
        properties = at.get("properties", {})
        inner = properties.get(part) if isinstance(part, str) else at.get("items")
        at = inner or at.get("additionalProperties") or {}
    return list(_resolve(at, root).get("properties", {}))


def _resolve(node: Any, root: dict[str, Any]) -> dict[str, Any]:
    """Follow references, and of a choice the one that is a mapping."""
    if not isinstance(node, dict):
        return {}
    for choice in node.get("anyOf", []):
        if "$ref" in choice:
            return _resolve(choice, root)
    reference = node.get("$ref")
    return _resolve(root["$defs"][reference.rpartition("/")[2]], root) if reference else node


@cache
def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a manifest."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}


def json_schema_text() -> str:
    """``distros/manifest.schema.json`` as it is committed."""
    return json.dumps(json_schema(), indent=2) + "\n"
