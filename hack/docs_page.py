"""The generated head of an image's page, ``docs/images/<distro>.md``, as Markdown; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from hack.docs_tables import Proofs, recorded, table
from kmi.catalogue.chart import BOOTSTRAP, DOWNLOAD, OWN_DISK, Row
from kmi.host.ui import amount
from kmi.kubevirt.machine import minimal
from kmi.model.metadata import BY_NAME
from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec
from kmi.policy.criteria import AGENT

_AGENT = {
    "installed": f"installed by kmi (`{AGENT}`)",
    "upstream": "in the publisher's disk",
    "absent": "none",
}
_INIT = {
    "cloud-init": "cloud-init, from a `cloudInitNoCloud` volume",
    "ignition": "Ignition, from the `userData` of a `cloudInitConfigDrive` volume",
    "none": "none: it is set up on its console",
}
_FIRMWARE = {"bios": "BIOS", "uefi": "UEFI", "secure-boot": "Secure Boot", "native": "the machine's own"}


def head(found: Sequence[Row], proofs: Proofs) -> str:
    """All releases of one distro, at least one of which is not planned."""
    chosen = next((row for row in found if row.first.default and not row.planned), None)
    chosen = chosen or next(row for row in found if not row.planned)
    first = chosen.first
    title = first.title.removesuffix(f" {first.id.release}")
    parts = [
        f"<!-- Made by `make docs` from distros/{first.id.distro}.yaml, down to the line that says otherwise. -->\n",
        f"# {title}\n",
        _releases(found),
        "## Where it comes from\n",
        *(part for row in found for part in _source(row, proofs)),
        "## Try me\n",
        _try_me(chosen),
        "## What is in it\n",
        _facts(found, chosen),
    ]
    return "\n".join(parts) + "\n"


def _releases(found: Sequence[Row]) -> str:
    body = []
    for row in found:
        first = row.first
        version = f"**{first.id.release}**" if first.default else first.id.release
        name = f"{version} ({first.codename})" if first.codename else version
        marks = ("✓" if arch in row.architectures else "" for arch in Arch)
        then = f", then {first.successor}" if first.successor else ""
        ends = f"{first.end_of_life}{then}" if first.end_of_life else "not known here"
        body.append((name, first.tier, *marks, ends))
    return table(("release", "tier", *(arch.value for arch in Arch), "end of life"), body)


def _source(row: Row, proofs: Proofs) -> Iterator[str]:
    yield f"### {row.first.id.release}\n"
    if row.planned:
        yield f"Planned: {row.first.reason}.\n"
        return
    told = {DOWNLOAD: _download, BOOTSTRAP: _bootstrap, OWN_DISK: _own_disk}
    for source, _ in row.ways:
        yield from told[source](row)
    if row.first.cloud_image:
        yield _proof(row, proofs)


def _download(row: Row) -> Iterator[str]:
    images = [(image.id.arch, image.cloud_image) for image in row.images if image.cloud_image]
    first = images[0][1]
    body = [(arch.value, f"`{image.url}`", f"`{image.checksums}`") for arch, image in images]
    yield table(("", "the publisher's disk", f"its {first.algorithm} digest"), body)
    trust = first.trust
    what = "the disk" if trust.over == "image" else "the document with the digest"
    pinned = " or ".join(f"`{key}`" for key in trust.fingerprints) or f"`{trust.key}`"
    if trust.kind == "tls-only":
        yield (
            "`tls-only`: no signature of the publisher covers it. The digest is believed because it came from the "
            "publisher's server by TLS; the image says so.\n"
        )
    else:
        yield f"Proved by the publisher's {trust.kind} signature over {what}. The key is pinned: {pinned}.\n"
    if any("{build}" in image.url for _, image in images):
        yield "`{build}` is the publisher's current build: kmi looks it up, and an image's metadata names it.\n"


def _bootstrap(row: Row) -> Iterator[str]:
    images = [image for image in row.images if image.archive]
    archive = images[0].archive
    assert archive
    arches = ", ".join(image.id.arch for image in images)
    yield (
        f"Or, for {arches}, made from the distribution's own package archive (`--source bootstrap`): suite "
        f"`{archive.suite}`, every package traced by apt to the keyring `{archive.keyring}`.\n"
    )


def _own_disk(row: Row) -> Iterator[str]:
    own = row.first.own_disk
    assert own
    yield f"You bring the disk (`--source byo --disk FILE`, {own.format}): {own.where}.\n"


def _proof(row: Row, proofs: Proofs) -> str:
    arches, signed = recorded(row, proofs), recorded(row, proofs, signed=True)
    if not arches:
        return "The look-up is proved only on documents of our own making, of the shape that the publisher uses.\n"
    what = "a recorded document of the publisher and its signature" if signed == arches else "a recorded document"
    rest = "" if len(arches) == len(row.images) else "; for the others on documents of our own making, of its shape"
    return f"The look-up is proved on {what} for {', '.join(arches)}{rest}.\n"


def _try_me(row: Row) -> str:
    spec = row.first
    name = f"{spec.id.distro}:{spec.id.release}"
    source = " --source byo --disk FILE" if spec.own_disk and not spec.cloud_image else ""
    allowed = " --redistribute" if spec.redistribution else ""
    values = dict.fromkeys(BY_NAME, "") | {
        "title": spec.title, "distro": spec.id.distro, "release": spec.id.release, "architecture": spec.id.arch,
        "build": "BUILD", "init": spec.init, "user": spec.user, "agent": spec.agent,
        "instancetype": spec.instancetype, "preference": spec.preference, "firmware": " ".join(spec.firmware),
    }  # fmt: skip
    machine = minimal(values, f"REGISTRY/{spec.id.distro}@sha256:…")
    return (
        f"`kmi run {name}{source}{allowed} --to REGISTRY` builds, boots, signs and publishes it, and prints its\n"
        f"reference by digest. `kmi vm REGISTRY/{name}` writes this machine with that digest in it, at any later\n"
        "time. The cluster needs the common instance types and preferences, which KubeVirt deploys since 1.4.\n\n"
        f"```yaml\n{machine}```\n\n"
        "What the guest writes to such a disk is gone when the machine stops. To keep it, have CDI import the same\n"
        "reference into a DataVolume (`source.registry.url: docker://…`) and name that as the volume.\n"
    )


def _facts(found: Sequence[Row], chosen: Row) -> str:
    images = [image for row in found if not row.planned for image in row.images]
    first = chosen.first
    rows = [
        ("default user", _each(images, lambda image: f"`{image.user}`")),
        ("first-boot configuration", _INIT[first.init]),
        ("firmware", _each(images, lambda image: " or ".join(_FIRMWARE[name] for name in image.firmware))),
        ("guest agent", _each(images, lambda image: _AGENT[image.agent])),
        ("packages added", _each(images, _packages)),
        ("instance type, preference", _each(images, lambda image: f"`{image.instancetype}`, `{image.preference}`")),
        ("root disk", amount(first.virtual_size)),
        ("licence", f"[{first.licence.name}]({first.licence.url}); its text is in the image"),
        ("agreement", f"[{first.eula.name}]({first.eula.url})" if first.eula else ""),
        ("redistribution", _redistribution(first)),
        ("documentation", f"<{first.documentation}>"),
    ]
    return table(("", ""), ((f"**{name}**", text) for name, text in rows if text))


def _packages(image: ImageSpec) -> str:
    if image.recipe is None:
        return f"none: {image.untouched}"
    return ", ".join(f"`{name}`" for name in image.recipe.packages)


def _redistribution(spec: ImageSpec) -> str:
    if not spec.redistribution:
        return "nothing known here forbids it"
    return f"restricted, see <{spec.redistribution}>; kmi publishes it only when told to (`--redistribute`)"


def _each(images: Sequence[ImageSpec], tell: Callable[[ImageSpec], str]) -> str:
    """One answer where it holds for all images; else each with its architectures, or with its releases, and what of
    them where it does not hold for a whole release."""
    answers: dict[str, list[ImageSpec]] = {}
    for image in images:
        answers.setdefault(tell(image), []).append(image)
    if len(answers) == 1:
        return next(iter(answers))
    by_arch = len({(image.id.arch, tell(image)) for image in images}) == len({image.id.arch for image in images})
    names = _architectures if by_arch else _images
    return "<br>".join(f"{', '.join(names(those, images))}: {answer}" for answer, those in answers.items())


def _architectures(those: Sequence[ImageSpec], _: Sequence[ImageSpec]) -> Iterator[str]:
    yield from dict.fromkeys(image.id.arch.value for image in those)


def _images(those: Sequence[ImageSpec], images: Sequence[ImageSpec]) -> Iterator[str]:
    for release in dict.fromkeys(image.id.release for image in those):
        arches = [image.id.arch.value for image in those if image.id.release == release]
        every = len(arches) == sum(image.id.release == release for image in images)
        yield release if every else f"{release} ({' '.join(arches)})"
