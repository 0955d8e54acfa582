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
from pathlib import Path
from typing import Any

from kmi.catalogue import document, faults, lockschema
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
    """Replace one distro's lock, whole or not at all; False if there was nothing to change. VerificationError as
    ``holds``."""
    file = path(directory, distro)
    text = holds(distro, entries)
    if not entries and not file.exists():
        return False
    if file.is_file() and file.read_bytes() == text.encode():
        return False
    write_text(file, text)
    return True


def holds(distro: str, entries: Entries) -> str:
    """The text of a lock that can be read again. VerificationError for anything else: a publisher's index may say
    anything."""
    text = render(distro, entries)
    try:
        _entries(text.encode(), distro, f"{distro}{SUFFIX}")
    except FaultsError as error:
        raise VerificationError("the publisher's index gives what no lock can hold", got=error.what) from error
    return text


def render(distro: str, entries: Entries) -> str:
    """The text of a lock: the same entries give the same bytes."""
    found: dict[str, dict[str, object]] = {}
    for image, entry in entries.items():
        held = seal(encode(entry.locked) | {"manifest": str(entry.manifest)})
        del held["id"]  # it is where the entry stands, and in the seal: an entry cannot be moved
        found.setdefault(image.release, {})[image.arch.value] = held
    value = {"lock": 1, "distro": distro, "images": found}
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=True) + "\n"


def _entries(data: bytes, distro: str, name: str) -> dict[ImageId, Entry]:
    value, lines = _json(data, distro, name)
    held, errors = lockschema.validate(value)
    if held is None:
        raise _wrong(faults.of_schema(errors, lines), name, distro)
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
