"""What a well-formed manifest must also hold: rules over several of its values; pure but for the files it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kmi.catalogue.document import Place
from kmi.catalogue.images import CloudImage, Trust
from kmi.catalogue.schema import Manifest
from kmi.model.spec import Tier

TEXT_LIMIT = 1 << 20
"""Bytes in a licence."""

_INDEXED = frozenset({"debian-json", "coreos-stream", "oracle-template"})
_ITEMS = frozenset({"coreos-stream", "oracle-template"})

Break = tuple[Place, str]


def broken(manifest: Manifest, path: Path) -> Iterator[Break]:
    """Every rule that the manifest at ``path`` breaks: the place and a sentence."""
    if manifest.distro != path.stem:
        yield ("distro",), f"the file is called {path.name}, so {path.stem!r} is expected"
    yield from _releases(manifest)
    yield from _architectures(manifest)
    yield from _agent(manifest)
    yield from _customize(manifest)
    yield from _images(manifest)
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
        here: Place = ("releases", number)
        if release.tier is not Tier.PLANNED:
            if not (release.cloud_image or manifest.cloud_image or manifest.bootstrap or manifest.own_disk):
                yield (*here, "tier"), f"a {release.tier} release needs a cloud_image, a bootstrap or an own_disk"
            if release.reason:
                yield (*here, "reason"), "only a planned release needs a reason"
        if release.trust and not (release.cloud_image or manifest.cloud_image):
            yield (*here, "trust"), "there is no cloud_image to prove"
    for number, release in enumerate(manifest.releases):
        if release.successor and release.successor not in seen:
            yield ("releases", number, "successor"), f"{release.successor!r} is not a release of this manifest"
    if (manifest.redistribution == "restricted") != bool(manifest.redistribution_policy):
        yield ("redistribution",), "restricted goes together with a redistribution_policy"


def _architectures(manifest: Manifest) -> Iterator[Break]:
    used = {arch for release in manifest.releases for arch in release.architectures}
    for arch in sorted(used - manifest.firmware.keys()):
        yield ("firmware",), f"nothing for {arch}, which a release has"
    for number, release in enumerate(manifest.releases):
        for arch in sorted(set(release.architectures) - (release.firmware or manifest.firmware).keys()):
            if release.firmware:
                yield ("releases", number, "firmware"), f"nothing for {arch}, which the release has"
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


def _images(manifest: Manifest) -> Iterator[Break]:
    """Each cloud_image with the trust that holds for it, and each trust of a release."""
    own = manifest.cloud_image
    if own:
        yield from _image(own, ("cloud_image",))
        yield from _trust(own.trust, own, ("cloud_image", "trust"))
    for number, release in enumerate(manifest.releases):
        place: Place = ("releases", number)
        image = release.cloud_image or own
        if release.cloud_image:
            yield from _image(release.cloud_image, (*place, "cloud_image"))
            yield from _trust(release.cloud_image.trust, release.cloud_image, (*place, "cloud_image", "trust"))
        if release.trust and image:
            yield from _trust(release.trust, image, (*place, "trust"))


def _image(image: CloudImage, place: Place) -> Iterator[Break]:
    """``{build}`` has somebody who fills it in, and each kind has what it reads."""
    build = image.build
    indexed = image.kind in _INDEXED
    if image.kind in _ITEMS and not image.item:
        yield (*place, "item"), f"{image.kind} needs what to look up in the index"
    if build and image.kind == "debian-json":
        yield (*place, "build"), "the index tells the build"
    if build and (build.url is None) != (build.kind == "same-digest"):
        yield (*place, "build", "url"), f"{build.kind} {'has none' if build.url else 'needs one'}"
    if build and "{build}" not in build.name:
        yield (*place, "build", "name"), "{build} is expected in it"
    unknown = "{build}" in image.url and not (build or indexed)
    early = "{build}" in image.checksums and (build is None or build.kind == "same-digest")
    if unknown or early:
        yield (*place, "url" if unknown else "checksums"), "nothing tells the {build}"


def _trust(trust: Trust, image: CloudImage, place: Place) -> Iterator[Break]:
    if trust.kind == "openpgp" and not trust.fingerprints:
        yield place, "openpgp needs the full fingerprints that may sign"
    if trust.kind in ("minisign", "signify") and not (trust.key and trust.signature):
        yield place, f"{trust.kind} needs the public key and the URL of the signature"
    if trust.over == "image" and not trust.signature:
        yield place, "a signature over the image has a URL"
    unused = {"openpgp": ("key",), "tls-only": ("fingerprints", "key_url", "key", "signature")}
    for name in unused.get(trust.kind, ("fingerprints", "key_url")):
        if getattr(trust, name):
            yield (*place, name), f"{trust.kind} has none"
    if trust.kind == "tls-only":
        for name in ("url", "checksums"):
            if not getattr(image, name).startswith("https://"):
                yield (*place[:-1], name), "tls-only needs https"


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
