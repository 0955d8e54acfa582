"""What a manifest may say. The only importer of pydantic; unknown keys are errors, every value arrives as text."""

from __future__ import annotations

import json
import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from kmi.catalogue import placeholders
from kmi.catalogue.document import Place
from kmi.model.platform import Arch, Firmware
from kmi.model.spec import Tier

_UNITS = {"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def _line(text: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("one line without control characters is expected")
    if text.startswith("-") or text != text.strip() or not text:
        raise ValueError("text that is not empty, begins with no dash and has no space around it is expected")
    return text


def _url(text: str) -> str:
    if re.fullmatch(r"https?://[A-Za-z0-9.-]+(:[0-9]+)?/[!-~]*", text) is None:
        raise ValueError("an http or https URL with a path is expected")
    return text


def _size(text: object) -> object:
    match = re.fullmatch(r"([0-9]{1,6}) ?(MiB|GiB|TiB)", text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("a size such as 20GiB is expected (MiB, GiB or TiB)")
    return int(match[1]) * _UNITS[match[2]]


def _mode(text: object) -> object:
    if not isinstance(text, str) or re.fullmatch(r"0[0-7]{3}", text) is None:
        raise ValueError("permission bits such as 0644 are expected")
    return int(text, 8)


Line = Annotated[str, AfterValidator(_line)]
Template = Annotated[Line, AfterValidator(placeholders.check)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$", max_length=63)]
Package = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9{][A-Za-z0-9+._/@:{}-]*$", max_length=200), AfterValidator(placeholders.check)
]
Url = Annotated[Line, AfterValidator(_url)]
UrlTemplate = Annotated[Template, AfterValidator(lambda text: _url(re.sub(r"\{[a-z]+\}", "x", text)) and text)]
Size = Annotated[
    int, BeforeValidator(_size), WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,6} ?(MiB|GiB|TiB)$"})
]
Mode = Annotated[int, BeforeValidator(_mode), WithJsonSchema({"type": "string", "pattern": "^0[0-7]{3}$"})]
Flag = Annotated[bool, WithJsonSchema({"type": "boolean"})]
Fingerprint = Annotated[str, Field(pattern=r"^[0-9A-F]{40}$", description="a full primary fingerprint")]
AbsolutePath = Annotated[Line, Field(pattern=r"^/")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LegalText(_Strict):
    """A licence or an agreement; its text lies in a file below ``distros/``."""

    name: Line
    url: Url
    file: Annotated[str, Field(pattern=r"^files/[a-z0-9][a-z0-9._-]*$")]


class Agent(_Strict):
    """The QEMU guest agent: installed by kmi (then package and service are due), upstream (there already) or absent."""

    state: Literal["installed", "upstream", "absent"] = "installed"
    package: Package | None = None
    service: Line | None = None


class Trust(_Strict):
    """What proves the checksum document: openpgp with pinned fingerprints, or only the transport (tls-only)."""

    kind: Literal["openpgp", "tls-only"]
    fingerprints: tuple[Fingerprint, ...] = ()
    key_url: UrlTemplate | None = None
    signature: UrlTemplate | None = None


class CloudImage(_Strict):
    """The publisher's disk for download. ``checksums`` is the document that names its digest."""

    kind: Literal["checksum-file"] = "checksum-file"
    url: UrlTemplate
    checksums: UrlTemplate
    algorithm: Literal["sha256", "sha384", "sha512"]
    format: Literal["qcow2", "raw"]
    trust: Trust


class Bootstrap(_Strict):
    """The publisher's signed package archive, and what makes a bootable disk of it."""

    kind: Literal["debian"]
    suite: Template
    keyring: AbsolutePath
    packages: tuple[Package, ...]
    boot_packages: dict[Arch, tuple[Package, ...]]


class GuestFile(_Strict):
    path: AbsolutePath
    content: Annotated[str, Field(max_length=65536)]
    mode: Mode = 0o644


class Release(_Strict):
    """One release. ``version`` is the release's name in references and selectors."""

    version: Word
    codename: Word = ""
    tier: Tier
    default: Flag = False
    architectures: Annotated[tuple[Arch, ...], Field(min_length=1)]
    end_of_life: date | None = None


class Manifest(_Strict):
    """One distro: what is common to its releases, and the releases."""

    distro: Word
    title: Line
    documentation: Url
    licence: LegalText
    eula: LegalText | None = None
    user: Word
    init: Literal["cloud-init", "ignition", "none"]
    agent: Agent
    instancetype: Word
    preference: Word
    preferences: dict[Arch, Word] = {}
    firmware: dict[Arch, Annotated[tuple[Firmware, ...], Field(min_length=1)]]
    virtual_size: Size = 20 << 30
    cloud_image: CloudImage | None = None
    bootstrap: Bootstrap | None = None
    customize: Literal["full", "none"] = "full"
    customize_reason: Line | None = None
    packages: tuple[Package, ...] = ()
    upgrade: Literal["all", "security", "none"] | None = None
    enable: tuple[Line, ...] = ()
    files: tuple[GuestFile, ...] = ()
    run: tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...] = ()
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


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a manifest."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Manifest.model_json_schema()}


def json_schema_text() -> str:
    """``distros/manifest.schema.json`` as it is committed."""
    return json.dumps(json_schema(), indent=2) + "\n"
