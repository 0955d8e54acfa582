"""The metadata record of an image, gathered from what the stages before wrap have proved."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from kmi import __version__
from kmi.errors import BuildError
from kmi.host.run import run
from kmi.model import metadata
from kmi.model.digest import Digest
from kmi.model.spec import ImageSpec
from kmi.model.stages import CustomDisk, Disk
from kmi.settings import Settings


def describe(
    spec: ImageSpec,
    custom: CustomDisk,
    disk: Disk,
    *,
    base: tuple[str, Digest],
    as_of: str,
    settings: Settings,
) -> dict[str, str]:
    """A complete record. ``base`` is the base image's reference and digest."""
    origin = custom.origin
    source, revision = repository(settings)
    return metadata.record(
        title=f"{spec.title} for KubeVirt",
        distro=spec.id.distro,
        release=spec.id.release,
        codename=spec.codename,
        version=f"{spec.id.release}-{origin.build}",
        build=origin.build,
        released=_stamp(origin.released_at),
        architecture=spec.id.arch.value,
        download=origin.url,
        checksum=str(origin.checksum),
        trust=str(origin.evidence),
        pulled=_stamp(origin.pulled_at),
        documentation=spec.documentation,
        licence=spec.licence.name,
        licence_url=spec.licence.url,
        eula=spec.eula.name if spec.eula else "",
        eula_url=spec.eula.url if spec.eula else "",
        source=source,
        revision=revision,
        builder=f"kmi {__version__}",
        customizer=custom.customizer,
        packages=" ".join(spec.recipe.packages if spec.recipe else ()),
        as_of=as_of,
        kernel=" ".join(custom.inventory.kernels),
        firmware=" ".join(spec.firmware),
        init=spec.init,
        user=spec.user,
        agent=spec.agent,
        instancetype=spec.instancetype,
        preference=spec.preference,
        disk_format="qcow2",
        disk_digest=str(disk.digest),
        disk_size=str(disk.size),
        virtual_size=str(disk.virtual_size),
        base=base[0],
        base_digest=str(base[1]),
    )


def repository(settings: Settings) -> tuple[str, str]:
    """The web address and the commit of the catalogue. The address is the setting, or the origin remote if that is a
    public https one; a local path or a credential never gets into an image."""
    revision = _git(settings.distros, "rev-parse", "HEAD")
    if revision and _git(settings.distros, "status", "--porcelain", "--", "."):
        revision += "-dirty"
    remote = _git(settings.distros, "remote", "get-url", "origin")
    address = settings.project or (remote if remote.startswith("https://") and "@" not in remote else "")
    return address or "kmi:distros", revision or "unversioned"


def _git(folder: Path, *words: str) -> str:
    try:
        return run(["git", "-c", "safe.directory=*", "-C", folder, *words]).stdout.strip()
    except BuildError:
        return ""


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
