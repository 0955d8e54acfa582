"""From a valid manifest to one ``ImageSpec`` for each release and architecture; pure but for the texts it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from kmi.catalogue import placeholders, schema
from kmi.model.platform import Arch
from kmi.model.spec import (
    CloudImage,
    GuestFile,
    ImageId,
    ImageSpec,
    LegalText,
    PackageArchive,
    Recipe,
    Tier,
    Trust,
)

_UPGRADED = frozenset({Tier.PROPOSED, Tier.STABLE})
"""The tiers that bring every package up to date unless the manifest says otherwise."""

Expand = Callable[[str], str]


def specs(manifest: schema.Manifest, directory: Path, where: Callable[[int], str]) -> Iterator[ImageSpec]:
    """``where`` gives the ``file:line`` of a release by its position."""
    licence = _legal(manifest.licence, directory)
    eula = _legal(manifest.eula, directory) if manifest.eula else None
    for number, release in enumerate(manifest.releases):
        for arch in release.architectures:
            expand = partial(placeholders.expand, version=release.version, codename=release.codename, arch=arch.value)
            yield ImageSpec(
                id=ImageId(distro=manifest.distro, release=release.version, arch=arch),
                title=f"{manifest.title} {release.version}",
                codename=release.codename,
                tier=release.tier,
                default=release.default,
                cloud_image=_cloud_image(manifest.cloud_image, expand) if manifest.cloud_image else None,
                archive=_archive(manifest.bootstrap, arch, expand) if manifest.bootstrap else None,
                recipe=_recipe(manifest, release, expand) if manifest.customize == "full" else None,
                untouched=manifest.customize_reason or "",
                firmware=manifest.firmware[arch],
                user=manifest.user,
                init=manifest.init,
                agent=manifest.agent.state,
                instancetype=manifest.instancetype,
                preference=manifest.preferences.get(arch, manifest.preference),
                documentation=manifest.documentation,
                licence=licence,
                eula=eula,
                virtual_size=manifest.virtual_size,
                end_of_life=release.end_of_life,
                where=where(number),
            )


def _cloud_image(image: schema.CloudImage, expand: Expand) -> CloudImage:
    trust = Trust(
        kind=image.trust.kind,
        fingerprints=image.trust.fingerprints,
        key_url=expand(image.trust.key_url) if image.trust.key_url else None,
        signature=expand(image.trust.signature) if image.trust.signature else None,
    )
    return CloudImage(
        kind=image.kind,
        url=expand(image.url),
        checksums=expand(image.checksums),
        algorithm=image.algorithm,
        format=image.format,
        trust=trust,
    )


def _archive(archive: schema.Bootstrap, arch: Arch, expand: Expand) -> PackageArchive:
    return PackageArchive(
        kind=archive.kind,
        suite=expand(archive.suite),
        keyring=archive.keyring,
        packages=_once(expand(name) for name in (*archive.packages, *archive.boot_packages[arch])),
    )


def _recipe(manifest: schema.Manifest, release: schema.Release, expand: Expand) -> Recipe:
    """The manifest's packages and services with the guest agent's behind them."""
    agent = manifest.agent
    packages = (*manifest.packages, *((agent.package,) if agent.package else ()))
    return Recipe(
        packages=_once(expand(name) for name in packages),
        upgrade=manifest.upgrade or ("all" if release.tier in _UPGRADED else "none"),
        enable=_once((*manifest.enable, *((agent.service,) if agent.service else ()))),
        files=tuple(GuestFile(path=file.path, content=file.content, mode=file.mode) for file in manifest.files),
        run=manifest.run,
        room=manifest.room,
    )


def _legal(legal: schema.LegalText, directory: Path) -> LegalText:
    text = (directory / legal.file).read_text(encoding="utf-8")
    return LegalText(name=legal.name, url=legal.url, text=text)


def _once(names: Iterator[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Without repetitions, in order."""
    return tuple(dict.fromkeys(names))
