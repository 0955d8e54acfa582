"""What a well-formed manifest must also hold: rules over several of its values; pure but for the files it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kmi.catalogue.document import Place
from kmi.catalogue.schema import Manifest, Trust
from kmi.model.spec import Tier

TEXT_LIMIT = 1 << 20
"""Bytes in a licence."""

Break = tuple[Place, str]


def broken(manifest: Manifest, path: Path) -> Iterator[Break]:
    """Every rule that the manifest at ``path`` breaks: the place and a sentence."""
    if manifest.distro != path.stem:
        yield ("distro",), f"the file is called {path.name}, so {path.stem!r} is expected"
    yield from _releases(manifest)
    yield from _architectures(manifest)
    yield from _agent(manifest)
    yield from _customize(manifest)
    yield from _trust(manifest)
    yield from _texts(manifest, path.parent)


def _releases(manifest: Manifest) -> Iterator[Break]:
    defaults = [release.version for release in manifest.releases if release.default]
    if len(defaults) != 1:
        yield ("releases",), f"exactly one release is the default, not {', '.join(defaults) or 'none'}"
    seen: set[str] = set()
    for number, release in enumerate(manifest.releases):
        if release.version in seen:
            yield ("releases", number, "version"), f"release {release.version} is listed twice"
        seen.add(release.version)
        if release.tier is not Tier.PLANNED and not (manifest.cloud_image or manifest.bootstrap):
            yield ("releases", number, "tier"), f"a {release.tier} release needs a cloud_image or a bootstrap"


def _architectures(manifest: Manifest) -> Iterator[Break]:
    used = {arch for release in manifest.releases for arch in release.architectures}
    for arch in sorted(used - manifest.firmware.keys()):
        yield ("firmware",), f"nothing for {arch}, which a release has"
    if manifest.bootstrap:
        for arch in sorted(used - manifest.bootstrap.boot_packages.keys()):
            yield ("bootstrap", "boot_packages"), f"nothing for {arch}, which a release has"


def _agent(manifest: Manifest) -> Iterator[Break]:
    agent = manifest.agent
    if agent.state == "installed" and not (agent.package and agent.service):
        yield ("agent",), "an installed agent has a package and a service"
    if agent.state != "installed" and (agent.package or agent.service):
        yield ("agent", "state"), f"an agent that is {agent.state} has no package and no service"


def _customize(manifest: Manifest) -> Iterator[Break]:
    if manifest.customize == "full":
        if manifest.customize_reason:
            yield ("customize_reason",), "only a disk that is taken as it is (customize: none) needs a reason"
        return
    if not manifest.customize_reason:
        yield ("customize",), "none needs a customize_reason"
    if manifest.agent.state == "installed":
        yield ("agent", "state"), "nothing is installed with customize: none, so upstream or absent is expected"
    for name in ("packages", "upgrade", "enable", "files", "run", "room", "bootstrap"):
        if getattr(manifest, name):
            yield (name,), "nothing is done to the disk with customize: none"


def _trust(manifest: Manifest) -> Iterator[Break]:
    image = manifest.cloud_image
    if image is None:
        return
    place: Place = ("cloud_image", "trust")
    trust: Trust = image.trust
    if trust.kind == "openpgp" and not trust.fingerprints:
        yield place, "openpgp needs the full fingerprints that may sign"
    if trust.kind == "tls-only":
        for name in ("fingerprints", "key_url", "signature"):
            if getattr(trust, name):
                yield (*place, name), "tls-only has none"
        for name in ("url", "checksums"):
            if not getattr(image, name).startswith("https://"):
                yield ("cloud_image", name), "tls-only needs https"


def _texts(manifest: Manifest, directory: Path) -> Iterator[Break]:
    for name in ("licence", "eula"):
        legal = getattr(manifest, name)
        if legal is None:
            continue
        try:
            size = len((directory / legal.file).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            yield (name, "file"), f"{legal.file} cannot be read: {error}"
            continue
        if not 0 < size <= TEXT_LIMIT:
            yield (name, "file"), f"{legal.file} has {size} characters; 1 to {TEXT_LIMIT} are expected"
