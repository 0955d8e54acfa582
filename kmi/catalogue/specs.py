"""From a valid manifest to one ``ImageSpec`` for each release and architecture; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from kmi.catalogue import images, placeholders, schema
from kmi.model.platform import Arch
from kmi.model.spec import (
    BuildLookup,
    CloudImage,
    GuestFile,
    ImageId,
    ImageSpec,
    LegalText,
    OwnDisk,
    PackageArchive,
    Packing,
    Recipe,
    Tier,
    Trust,
    Waiver,
)

_UPGRADED = frozenset({Tier.PROPOSED, Tier.STABLE})
"""The tiers that bring every package up to date unless the manifest says otherwise."""

Expand = Callable[[str], str]


def specs(manifest: schema.Manifest, texts: Mapping[str, str], where: Callable[[int], str]) -> Iterator[ImageSpec]:
    """``texts`` are those of the manifest's ``licence`` and ``eula``; ``where`` gives the ``file:line`` of a release by
    its position."""
    licence = _legal(manifest.licence, texts["licence"])
    eula = _legal(manifest.eula, texts["eula"]) if manifest.eula else None
    for number, release in enumerate(manifest.releases):
        for arch in release.architectures:
            yield _spec(manifest, release, arch, licence, eula, where(number))


def _spec(
    manifest: schema.Manifest, release: schema.Release, arch: Arch, licence: LegalText, eula: LegalText | None, at: str
) -> ImageSpec:
    word = manifest.arch_names.get(arch, arch.value)
    expand = partial(placeholders.expand, version=release.version, codename=release.codename, arch=word)
    image = release.cloud_image or manifest.cloud_image
    own = manifest.own_disk
    return ImageSpec(
        id=ImageId(distro=manifest.distro, release=release.version, arch=arch),
        title=f"{manifest.title} {release.version}",
        codename=release.codename,
        tier=release.tier,
        default=release.default,
        cloud_image=_cloud_image(image, release.trust or image.trust, arch, expand) if image else None,
        archive=_archive(manifest.bootstrap, arch, expand) if manifest.bootstrap else None,
        own_disk=OwnDisk(format=own.format, where=own.where) if own else None,
        recipe=_recipe(manifest, release, expand) if manifest.customize == "full" else None,
        untouched=manifest.customize_reason or "",
        firmware=(release.firmware or manifest.firmware)[arch],
        user=release.user or manifest.user,
        init=manifest.init,
        agent=(release.agent or manifest.agent).state,
        instancetype=manifest.instancetype,
        preference=release.preference or manifest.preferences.get(arch, manifest.preference),
        documentation=manifest.documentation,
        licence=licence,
        eula=eula,
        redistribution=(manifest.redistribution_policy or "") if manifest.redistribution == "restricted" else "",
        virtual_size=manifest.virtual_size,
        end_of_life=release.end_of_life,
        successor=release.successor or "",
        reason=release.reason or "",
        max_age=manifest.max_age,
        waivers=tuple(Waiver(criterion=w.criterion, reason=w.reason, until=w.until) for w in release.waivers),
        where=at,
    )


def _cloud_image(image: images.CloudImage, trust: images.Trust, arch: Arch, expand: Expand) -> CloudImage:
    """``{build}`` stays in the URLs: it is known only when the image is looked up."""
    own = image.per_architecture.get(arch, images.Location())
    build = own.build or image.build
    return CloudImage(
        kind=image.kind,
        url=expand(own.url or image.url),
        checksums=expand(own.checksums or image.checksums),
        shape=image.shape,
        item=expand(image.item) if image.item else None,
        algorithm=image.algorithm,
        format=image.format,
        packing=_packing(image, expand),
        build=_build(build, expand) if build else None,
        trust=_trust(trust, own.signature or trust.signature, expand),
    )


def _packing(image: images.CloudImage, expand: Expand) -> Packing:
    return Packing(
        compression=image.compression,
        archive=image.archive or "",
        member=expand(image.member) if image.member else "",
        digest_of=image.digest_of,
    )


def _build(build: images.Build, expand: Expand) -> BuildLookup:
    return BuildLookup(
        kind=build.kind,
        name=expand(build.name),
        url=build.url and expand(build.url),
        containing=expand(build.containing) if build.containing else "",
    )


def _trust(trust: images.Trust, signature: str | None, expand: Expand) -> Trust:
    return Trust(
        kind=trust.kind,
        over=trust.over,
        fingerprints=trust.fingerprints,
        key_url=trust.key_url and expand(trust.key_url),
        key=trust.key,
        signature=signature and expand(signature),
    )


def _archive(archive: schema.Bootstrap, arch: Arch, expand: Expand) -> PackageArchive | None:
    if not archive.boot_packages[arch]:
        return None
    return PackageArchive(
        kind=archive.kind,
        suite=expand(archive.suite),
        keyring=archive.keyring,
        packages=_once(expand(name) for name in (*archive.packages, *archive.boot_packages[arch])),
    )


def _recipe(manifest: schema.Manifest, release: schema.Release, expand: Expand) -> Recipe:
    """The manifest's packages and services with the guest agent's behind them."""
    agent = release.agent or manifest.agent
    own = release.packages if release.packages is not None else manifest.packages
    packages = (*own, *((agent.package,) if agent.package else ()))
    return Recipe(
        packages=_once(expand(name) for name in packages),
        upgrade=manifest.upgrade or ("all" if release.tier in _UPGRADED else "none"),
        enable=_once((*manifest.enable, *((agent.service,) if agent.service else ()))),
        files=tuple(GuestFile(path=file.path, content=file.content, mode=file.mode) for file in manifest.files),
        run=manifest.run,
        room=manifest.room,
    )


def _legal(legal: schema.LegalText, text: str) -> LegalText:
    return LegalText(name=legal.name, url=legal.url, text=text)


def _once(names: Iterator[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Without repetitions, in order."""
    return tuple(dict.fromkeys(names))
