"""``distros/<distro>.lock.json``: what kmi's verifier found for each image of a distro, written by the machine.

Sorted, one field a line, so that a change reads as what changed. Every entry carries a digest of itself (``seal``).
An attacker can compute one too, and reviewing commits is against him; but an edit by hand or a wrongly resolved merge
conflict does not pass for what the verifier wrote.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from kmi.catalogue import document, faults, images
from kmi.catalogue.fields import DistroName, Form, Line, Strict, Url, Word
from kmi.documents import Fault, Unreadable, contents, place
from kmi.errors import FaultsError, VerificationError
from kmi.host.files import SEAL, seal, write_text
from kmi.model.codec import decode, encode
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import ImageId
from kmi.model.stages import Locked

SUFFIX = ".lock.json"
SIZE_LIMIT = 1 << 20
"""Bytes; an entry has about one thousand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One image of a lock. ``manifest`` is the digest of what the manifest said of the download
    (``kmi.catalogue.locks.section``); ``where`` is the entry's ``file:line``, empty for one that was not read."""

    locked: Locked
    manifest: Digest
    where: str = ""


Entries = Mapping[ImageId, Entry]


def path(directory: Path, distro: str) -> Path:
    return directory / f"{distro}{SUFFIX}"


def read(directory: Path, distro: str) -> dict[ImageId, Entry]:
    """The entries of one distro's lock; none if there is no such file. FaultsError, with file and line, for a file
    that is not as ``write`` leaves it (its layout apart)."""
    file = path(directory, distro)
    if not os.path.lexists(file):
        return {}
    try:
        return _entries(contents(file, SIZE_LIMIT), distro, place(file))
    except Unreadable as error:
        raise _wrong([error.fault], place(file), distro) from None


def write(directory: Path, distro: str, entries: Entries) -> bool:
    """Replace one distro's lock, whole or not at all; False if there was nothing to change. VerificationError for
    what could not be read again: a publisher's index may hold anything."""
    file = path(directory, distro)
    text = render(distro, entries)
    try:
        _entries(text.encode(), distro, file.name)
    except FaultsError as error:
        raise VerificationError("the publisher's index gives what no lock can hold", got=error.what) from error
    if not entries and not file.exists():
        return False
    if file.is_file() and file.read_bytes() == text.encode():
        return False
    write_text(file, text)
    return True


def render(distro: str, entries: Entries) -> str:
    """The text of a lock: the same entries give the same bytes."""
    found: dict[str, dict[str, object]] = {}
    for image, entry in entries.items():
        held = seal(encode(entry.locked) | {"manifest": str(entry.manifest)})
        del held["id"]  # it is where the entry stands, and in the seal: an entry cannot be moved
        found.setdefault(image.release, {})[image.arch.value] = held
    value = {"lock": 1, "distro": distro, "images": found}
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def _digest(text: str) -> str:
    return str(Digest.parse(text))


def _stamp(text: str) -> str:
    datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007 -- only its form is looked at
    return text


_Digest = Annotated[str, Field(max_length=200), AfterValidator(_digest)]
_Optional = Annotated[str, Field(max_length=200)]


class _Evidence(Strict):
    kind: Literal["openpgp", "minisign", "signify", "tls-only"]
    value: Annotated[str, Form("[A-Za-z0-9+/=]*", "a fingerprint or a public key")]


class _Packing(Strict):
    compression: Literal["none", "gz", "xz", "bz2", "zst"]
    archive: Literal["tar", ""]
    member: _Optional
    digest_of: Literal["file", "content"]


class _Image(Strict):
    build: Line
    checksums: Url
    content: _Digest | None
    digest: _Digest
    evidence: _Evidence
    format: Literal["qcow2", "raw", "vmdk"]
    manifest: _Digest
    packing: _Packing
    released_at: Annotated[
        str, Form("[0-9TZ:-]{20}", "a time such as 2026-07-25T04:16:54Z", 20), AfterValidator(_stamp)
    ]
    seal: Annotated[str, Form("[0-9a-f]{64}", "a SHA-256", 64)]
    signed: images.Trust | None
    size: Annotated[int, Field(strict=True, gt=0, lt=1 << 50)] | None
    url: Url


class _File(Strict):
    lock: Annotated[int, Field(strict=True, ge=1, le=1)]
    distro: DistroName
    images: dict[Word, dict[Arch, _Image]]


def _entries(data: bytes, distro: str, name: str) -> dict[ImageId, Entry]:
    value, lines = _json(data, distro, name)
    try:
        held = _File.model_validate(value)
    except ValidationError as error:
        raise _wrong(
            faults.of_schema([dict(one) for one in error.errors(include_url=False)], lines), name, distro
        ) from None
    bad = [faults.at(lines, ("distro",), f"the lock of {distro} is expected")] if held.distro != distro else []
    found = {}
    for release, of_release in value["images"].items():
        for arch, entry in of_release.items():
            at = ("images", release, arch)
            image = ImageId(distro=distro, release=release, arch=Arch(arch))
            whole = {**entry, "id": encode(image)}
            if seal({key: part for key, part in whole.items() if key != SEAL})[SEAL] != entry[SEAL]:
                bad.append(faults.at(lines, (*at, SEAL), "the entry is not as kmi wrote it"))
            found[image] = Entry(
                locked=decode(Locked, whole), manifest=Digest.parse(entry["manifest"]), where=f"{name}:{lines.line(at)}"
            )
    if bad:
        raise _wrong(bad, name, distro)
    return found


def _json(data: bytes, distro: str, name: str) -> tuple[Any, document.Document]:
    """The value, and the lines of its parts: the manifests' reader takes JSON too, refuses keys given twice and endless
    nesting, and knows the line of everything."""
    lines = document.read(data)
    value = None
    try:
        value = json.loads(data) if not lines.faults else None
    except json.JSONDecodeError as error:
        lines.faults.append(Fault(line=error.lineno, message=f"not JSON: {error.msg}"))
    except (ValueError, RecursionError) as error:
        lines.faults.append(Fault(line=1, message=f"not JSON: {str(error)[:100]}"))
    if lines.faults:
        raise _wrong(lines.faults, name, distro)
    return value, lines


def _wrong(found: list[Fault], name: str, distro: str) -> FaultsError:
    told = [(f"{name}:{fault.line}", fault.message) for fault in faults.first(found)]
    error = FaultsError("the lock", told)
    error.hint = f"restore it from version control; or remove it, and `kmi lock {distro}:*` writes it anew, "
    error.hint += "but then nothing tells it that a publisher went back in time"
    return error
