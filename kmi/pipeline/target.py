"""What ``kmi test`` is given: the last build of a selector, an OCI layout, or any image in a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from kmi.catalogue import Catalogue, select
from kmi.errors import UsageError, VerificationError
from kmi.host.ui import plain
from kmi.model.digest import Digest
from kmi.model.metadata import Metadata, of_labels
from kmi.model.platform import Arch, Firmware
from kmi.model.spec import ImageSpec
from kmi.oci import reference as references
from kmi.oci import registry
from kmi.oci.contract import Severity, lint
from kmi.oci.layout import Descriptor, Layout, load, manifests
from kmi.oci.reference import Reference

_FOREIGN = {"init": "cloud-init", "agent": "upstream"}
"""What is assumed of an image that says nothing of itself: that it is an ordinary cloud image."""
_DEFAULT_FIRMWARE = {Arch.AMD64: Firmware.BIOS, Arch.ARM64: Firmware.UEFI}
"""KubeVirt's own (pkg/defaults): what a VirtualMachine without a word on firmware gets."""

Told = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One architecture's image, whole in the OCI layout at ``layout``. ``name`` is for people and folders: the
    catalogue's for what a selector found, else by digest. ``spec`` is the entry in the catalogue that it says it is;
    ``reference`` names it by digest, if it came from a registry."""

    name: str
    subject: Digest
    arch: Arch
    metadata: Metadata
    layout: Path
    spec: ImageSpec | None = None
    reference: Reference | None = None


def find(
    word: str, arch: str | None, host: Arch, *, catalogue: Catalogue, output: Path, scratch: Path, told: Told
) -> tuple[Target, ...]:
    """The images that the argument means. ``arch`` is an architecture, ``all``, or None for this ``host``'s, or the
    only one there is; what comes from a registry is fetched into the empty folder ``scratch``.

    UsageError for what names nothing, NetworkError, VerificationError for an image whose bytes are not what their
    digests say or that breaks the containerDisk contract.
    """
    layout = references.layout_path(word)
    if layout is None and "/" in word:
        return _of_registry(references.parse(word), arch, host, catalogue, scratch, told)
    opened = [layout] if layout else _built(word, arch, catalogue, output)
    found = [
        _target(Layout.open(folder), child, catalogue, told)
        for folder in opened
        for child in _chosen(_images(Layout.open(folder)), arch if layout else "all", host, folder)
    ]
    if layout:
        return tuple(found)
    wanted = {spec.id for spec in select(catalogue, [word], arch)}
    chosen = tuple(
        replace(target, name=str(target.spec.id)) for target in found if target.spec and target.spec.id in wanted
    )
    if not chosen:
        raise UsageError(
            f"the last build of {word} holds none of its images",
            expected=", ".join(sorted(map(str, wanted))),
            got=", ".join(target.name for target in found) or "no image",
            where=", ".join(map(str, opened)),
            hint=f"`kmi build {word}` makes them anew",
        )
    return chosen


def with_facts(target: Target, **facts: str) -> Target:
    """The target with facts in place of what it says of itself; empty ones change nothing."""
    return replace(target, metadata={**target.metadata, **{name: value for name, value in facts.items() if value}})


def _of_registry(
    reference: Reference, arch: str | None, host: Arch, catalogue: Catalogue, scratch: Path, told: Told
) -> tuple[Target, ...]:
    told(f"asking {reference.host}")
    pinned = reference if reference.digest else reference.pinned(registry.resolve(reference))
    assert pinned.digest is not None
    raw = registry.raw_manifest(pinned)
    index = load(raw)
    if "manifests" in index:
        children = _of_guests(manifests(index))
    else:
        children = [Descriptor(media_type=str(index.get("mediaType", "")), digest=pinned.digest, size=len(raw))]
    if not children:
        raise UsageError("the index holds no image", where=pinned)
    found = []
    for number, child in enumerate(_chosen(children, arch, host, reference)):
        told(f"fetching {child.architecture or 'the image'}")
        one = pinned.pinned(child.digest)
        layout = registry.pull(one, scratch / f"oci-{number}")
        found.append(replace(_target(layout, child, catalogue, told), reference=one))
    return tuple(found)


def _built(word: str, arch: str | None, catalogue: Catalogue, output: Path) -> list[Path]:
    """The layouts of the last builds. UsageError if there is none."""
    specs = select(catalogue, [word], arch)
    folders = {output / name / "oci" for spec in specs for name in (str(spec.id), spec.id.name)}
    found = sorted(folder for folder in folders if (folder / "oci-layout").is_file())
    if not found:
        raise UsageError(
            f"{word} was not built here",
            expected=" or ".join(sorted(map(str, folders))),
            hint=f"`kmi build {word}` first, or name an OCI layout or an image in a registry",
        )
    return [max(found, key=lambda folder: (folder / "index.json").stat().st_mtime)] if len(specs) == 1 else found


def _images(layout: Layout) -> list[Descriptor]:
    children = _of_guests(child for root in layout.roots() for child in layout.images(root.digest))
    if not children:
        raise UsageError("the layout holds no image", where=layout.root)
    return children


def _of_guests(listed: Iterable[Descriptor]) -> list[Descriptor]:
    """Each image once, without attestations (BuildKit gives them the architecture ``unknown``)."""
    return list({child.digest: child for child in listed if child.architecture != "unknown"}.values())


def _chosen(children: Iterable[Descriptor], arch: str | None, host: Arch, where: object) -> list[Descriptor]:
    """The children of the wanted architecture; an image alone need not say which it is of in its descriptor."""
    found = list(children)
    if arch == "all" or (len(found) == 1 and arch is None):
        return found
    wanted = arch or host.value
    chosen = [child for child in found if child.architecture in (wanted, "")]
    if not chosen:
        offered = ", ".join(child.architecture for child in found)
        raise UsageError(f"there is no {wanted} image", expected=f"--arch with one of {offered}, or all", where=where)
    return chosen


def _target(layout: Layout, child: Descriptor, catalogue: Catalogue, told: Told) -> Target:
    told("hashing the image")
    config = _config(layout, child)
    _keeps_contract(layout, child)
    settings = config.get("config")
    labels = settings.get("Labels") if isinstance(settings, dict) else None
    said = labels.items() if isinstance(labels, dict) else ()
    metadata = of_labels({str(k): plain(" ".join(str(v).split())) for k, v in said})
    try:
        arch = Arch(str(config.get("architecture", "")))
        firmware = [str(Firmware(name)) for name in metadata["firmware"].split()]
    except ValueError as error:
        raise VerificationError(
            "the image does not say what it is", got=plain(str(error)), where=layout.root
        ) from error
    if not metadata["distro"]:
        metadata |= _FOREIGN
    metadata |= {"architecture": arch.value, "firmware": " ".join(firmware) or _DEFAULT_FIRMWARE.get(arch, "native")}
    spec = next((spec for spec in catalogue.specs if _is(spec, metadata)), None)
    name = f"{child.digest.short}-{arch}"  # whatever its labels say: anybody can write them
    return Target(name=name, subject=child.digest, arch=arch, metadata=metadata, layout=layout.root, spec=spec)


def _is(spec: ImageSpec, metadata: Metadata) -> bool:
    of_spec = (spec.id.distro, spec.id.release, spec.id.arch.value)
    return of_spec == (metadata["distro"], metadata["release"], metadata["architecture"])


def _config(layout: Layout, child: Descriptor) -> dict[str, object]:
    """The image config, after every blob of the image was hashed."""
    manifest = layout.read_json(child.digest)
    layers = manifest.get("layers")
    parts = [
        Descriptor.of_json(part) for part in (manifest.get("config"), *(layers if isinstance(layers, list) else ()))
    ]
    for part in parts:
        layout.verify(part)
    return layout.read_json(parts[0].digest)


def _keeps_contract(layout: Layout, child: Descriptor) -> None:
    """VerificationError with each broken rule: KubeVirt would not boot it either."""
    findings = lint(layout.root, child.digest, child if child.architecture else None)
    broken = [f"{one.rule.id}: {one.detail}" for one in findings if one.outcome is Severity.VIOLATION]
    if broken:
        got = plain("; ".join(broken))
        raise VerificationError("the image breaks the containerDisk contract", got=got, where=layout.root)
