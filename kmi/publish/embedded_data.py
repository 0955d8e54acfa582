"""The embedded registry's files on disk: whether each is still what its name says.

docker-registry checks what comes in and never again. Its layout is the distribution project's
(registry/storage/paths.go): ``blobs/sha256/<2>/<hex>/data`` holds the bytes, and each ``link`` below a repository one
digest. What is damaged is removed while no registry runs, so that the next push finds it missing and sends it again.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from kmi.errors import VerificationError
from kmi.host.cache import Damage
from kmi.host.files import hash_file, seal, unseal, write_json
from kmi.oci.layout import load

_V2 = Path("docker") / "registry" / "v2"
_PROOF = "proof.json"


def mend(folder: Path, *, quick: bool, drop: bool = True) -> tuple[Damage, ...]:
    """Look at every blob and link in ``folder/data``. With ``quick``, blobs that no program has touched since they were
    last seen whole are believed. With ``drop``, remove what is damaged and the manifests and tags that refer to it."""
    v2 = folder / "data" / _V2
    known = (unseal(folder / _PROOF) or {}) if quick else {}
    found = dict(_blobs(v2, known))
    whole = {path.parent.name for path in _data(v2)} - {path.name for path in found}
    for repository in sorted(v2.glob("repositories/**/_manifests")):
        found |= _repository(v2, repository, whole)
    if drop:
        for path in found:
            shutil.rmtree(path, ignore_errors=True)  # a tag's folder may hold a link that is damaged too
        remember(folder, known={})
    return tuple(
        Damage(name=f"registry {path.relative_to(v2)}", what=what, dropped=drop) for path, what in found.items()
    )


def remember(folder: Path, *, known: dict[str, list[int]] | None = None) -> None:
    """Note what the blobs look like: those in ``known`` (default: the noted ones) as they were, the rest as they are,
    for docker-registry has hashed what it took in."""
    v2 = folder / "data" / _V2
    before = (unseal(folder / _PROOF) or {}) if known is None else known
    looks = {path.parent.name: _look(path) for path in _data(v2)}
    write_json(folder / _PROOF, seal({name: before.get(name, look) for name, look in looks.items()}))


def _blobs(v2: Path, known: dict[str, list[int]]) -> Iterator[tuple[Path, str]]:
    """The folder of each damaged blob."""
    for path in _data(v2):
        if known.get(path.parent.name) == _look(path):
            continue
        if (got := hash_file(path).hex) != path.parent.name:
            yield path.parent, f"it is sha256:{got}"


def _repository(v2: Path, manifests: Path, whole: set[str]) -> dict[Path, str]:
    """The damaged links of one repository: to another digest than their name's; to a manifest that is not ``whole``, or
    refers to something that is not here; and the tags that name such a one or none that they ever had."""
    links = [
        *manifests.glob("revisions/*/*"),
        *manifests.parent.glob("_layers/*/*"),
        *manifests.glob("tags/*/index/*/*"),
    ]
    found = {path: f"it says {said[:80]!r}" for path in links if (said := _said(path)) != f"sha256:{path.name}"}
    revisions = {path.name: path for path in manifests.glob("revisions/*/*") if path not in found}
    while lacking := {name: lost for name in revisions if (lost := _lost(v2, name, whole, revisions.keys()))}:
        found |= {revisions.pop(name): f"it needs {lost}, which is missing" for name, lost in lacking.items()}
    for tag in manifests.glob("tags/*"):
        had = {f"sha256:{path.name}" for path in tag.glob("index/*/*") if path.name in revisions and path not in found}
        if (said := _said(tag / "current")) not in had:
            found[tag] = f"the tag says {said[:80]!r}"
    return found


def _lost(v2: Path, name: str, whole: set[str], revisions: Collection[str]) -> str | None:
    """Something that a manifest needs and that is not here, the manifest itself included. docker-registry refuses to
    take an index again whose manifests it lacks, even if that is what has to be mended."""
    if name not in whole:
        return f"sha256:{name}"
    try:
        manifest = load((v2 / "blobs" / "sha256" / name[:2] / name / "data").read_bytes())
        parts = [part["digest"] for part in (manifest.get("config"), *(manifest.get("layers") or ())) if part]
        children = [child["digest"] for child in manifest.get("manifests") or ()]
    except (VerificationError, TypeError, KeyError, AttributeError):  # docker-registry took it as it is, from anybody
        return None
    lost = [one for one in parts if one.partition(":")[2] not in whole]
    return next(iter([*lost, *(one for one in children if one.partition(":")[2] not in revisions)]), None)


def _said(folder: Path) -> str:
    try:
        return (folder / "link").read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return ""


def _data(v2: Path) -> list[Path]:
    return sorted((v2 / "blobs" / "sha256").glob("??/*/data"))


def _look(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
