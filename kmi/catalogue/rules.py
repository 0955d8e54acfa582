"""What a well-formed manifest must also hold: rules over several of its values; pure."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from kmi.catalogue.document import Place
from kmi.catalogue.images import Build, CloudImage, Trust
from kmi.catalogue.schema import Manifest
from kmi.documents import shown
from kmi.model.checks import TRUST, WAIVABLE
from kmi.model.spec import Tier

_INDEXED = frozenset({"debian-json", "coreos-stream", "oracle-template"})
_ITEMS = frozenset({"coreos-stream", "oracle-template"})

Break = tuple[Place, str]


def broken(manifest: Manifest, path: Path) -> Iterator[Break]:
    """Every rule that the manifest at ``path`` breaks: the place and a sentence."""
    for rule in _RULES:
        yield from rule(manifest)
    yield from _name(manifest, path)


def broken_parts(parts: Any, path: Path) -> Iterator[Break]:
    """As ``broken``, of what ``valid_parts`` left: a rule ends where it needs a value that is not there."""
    for rule in (*_RULES, partial(_name, path=path)):
        try:
            yield from rule(parts)
        except AttributeError:
            continue


def _name(manifest: Manifest, path: Path) -> Iterator[Break]:
    if manifest.distro != path.stem:
        yield ("distro",), f"the file is called {shown(path.name)[1:-1]}, so {shown(path.stem)} is expected"


def _default(manifest: Manifest) -> Iterator[Break]:
    defaults = [number for number, release in enumerate(manifest.releases) if release.default]
    if not defaults:
        yield ("releases",), "exactly one release is the default, not none"
    for number in defaults[1:]:
        yield ("releases", number, "default"), "exactly one release is the default, not a second one"


def _versions(manifest: Manifest) -> Iterator[Break]:
    """A selector means one release by its version, and may mean several by a code name."""
    seen: set[str] = set()
    for number, release in enumerate(manifest.releases):
        if release.version in seen:
            yield ("releases", number, "version"), f"release {release.version} is listed twice"
        seen.add(release.version)
    for number, release in enumerate(manifest.releases):
        if release.codename in seen - {release.version}:
            yield ("releases", number, "codename"), f"{release.codename} is the version of another release"
        if release.successor and release.successor not in seen:
            yield ("releases", number, "successor"), f"{release.successor!r} is not a release of this manifest"


def _tiers(manifest: Manifest) -> Iterator[Break]:
    for number, release in enumerate(manifest.releases):
        here: Place = ("releases", number)
        if release.tier is not Tier.PLANNED:
            if not (release.cloud_image or manifest.cloud_image or manifest.bootstrap or manifest.own_disk):
                yield (*here, "tier"), f"a {release.tier} release needs a cloud_image, a bootstrap or an own_disk"
            if release.reason:
                yield (*here, "reason"), "only a planned release needs a reason"


def _loose_trust(manifest: Manifest) -> Iterator[Break]:
    for number, release in enumerate(manifest.releases):
        if release.trust and not (release.cloud_image or manifest.cloud_image):
            yield ("releases", number, "trust"), "there is no cloud_image to prove"


def _waivers(manifest: Manifest) -> Iterator[Break]:
    """Only some criteria may be waived, each once; and what no publisher signs is stable only by such a waiver."""
    for number, release in enumerate(manifest.releases):
        here: Place = ("releases", number)
        waived = [waiver.criterion for waiver in release.waivers]
        for place, name in enumerate(waived):
            if name not in WAIVABLE:
                known = " or ".join(sorted(WAIVABLE))
                yield (*here, "waivers", place, "criterion"), f"{known} is expected: no other criterion may be waived"
            elif name in waived[:place]:
                yield (*here, "waivers", place, "criterion"), f"{name} is waived twice"
        image = release.cloud_image or manifest.cloud_image
        trust = release.trust or (image and image.trust)
        if release.tier is Tier.STABLE and trust and trust.kind == "tls-only" and TRUST not in waived:
            yield (*here, "tier"), f"stable and tls-only need a waiver for {TRUST}"


def _redistribution(manifest: Manifest) -> Iterator[Break]:
    if (manifest.redistribution == "restricted") != bool(manifest.redistribution_policy):
        yield ("redistribution",), "restricted goes together with a redistribution_policy"


def _codenames(manifest: Manifest) -> Iterator[Break]:
    """``{codename}`` of a release without one would leave a gap: in a URL, or before a dash that makes it an option."""
    for number, release in enumerate(manifest.releases):
        used = [
            name
            for name in ("cloud_image", "bootstrap", "packages", "agent")
            if "{codename}" in str(getattr(release, name, None) or getattr(manifest, name))
        ]
        if used and not release.codename:
            yield ("releases", number), f"a codename is expected, because {used[0]} uses {{codename}}"


def _files(manifest: Manifest) -> Iterator[Break]:
    seen: set[str] = set()
    for number, file in enumerate(manifest.files):
        if file.path in seen:
            yield ("files", number, "path"), f"{file.path} is written twice"
        seen.add(file.path)


def _sizes(manifest: Manifest) -> Iterator[Break]:
    if manifest.room >= manifest.virtual_size:
        yield ("room",), "less than the virtual_size is expected"


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
    own = ((("releases", number), release.agent) for number, release in enumerate(manifest.releases) if release.agent)
    for place, agent in ((), manifest.agent), *own:
        if agent.state == "installed" and not (agent.package and agent.service):
            yield (*place, "agent"), "an installed agent has a package and a service"
        if agent.state != "installed" and (agent.package or agent.service):
            yield (*place, "agent", "state"), f"an agent that is {agent.state} has no package and no service"


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
    yield from _build(build, (*place, "build"))
    for arch, location in image.per_architecture.items():
        yield from _build(location.build, (*place, "per_architecture", arch.value, "build"))
    if image.member and not image.archive:
        yield (*place, "member"), "only an archive has members"
    if image.digest_of == "content" and image.compression == "none" and not image.archive:
        yield (*place, "digest_of"), "the file is the disk: nothing is packed"
    unknown = "{build}" in image.url and not (build or indexed)
    early = "{build}" in image.checksums and (build is None or build.kind == "same-digest")
    if unknown or early:
        yield (*place, "url" if unknown else "checksums"), "nothing tells the {build}"


def _build(build: Build | None, place: Place) -> Iterator[Break]:
    if build and (build.url is None) != (build.kind == "same-digest"):
        yield (*place, "url"), f"{build.kind} {'has none' if build.url else 'needs one'}"
    if build and "{build}" not in build.name:
        yield (*place, "name"), "{build} is expected in it"


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
            for arch, location in image.per_architecture.items():
                if not (getattr(location, name) or "https://").startswith("https://"):
                    yield (*place[:-1], "per_architecture", arch.value, name), "tls-only needs https"


_RULES = (
    _default, _versions, _tiers, _waivers, _loose_trust, _redistribution, _codenames, _architectures, _agent,
    _customize, _images, _files, _sizes,
)  # fmt: skip
