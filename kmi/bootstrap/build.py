"""A verified, bootable disk from a distribution's own signed package archive, for where no cloud image is at hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from kmi.bootstrap import debian
from kmi.disk import assemble
from kmi.errors import BuildError, VerificationError
from kmi.host.accel import Acceleration
from kmi.host.guestfs import appliance
from kmi.host.run import run
from kmi.host.store import hash_file
from kmi.host.ui import Step
from kmi.model.codec import decode
from kmi.model.digest import Digest
from kmi.model.spec import BuildArchives, ImageSpec, PackageArchive
from kmi.model.stages import Evidence, Origin, VerifiedImage

VERSION = 2
IMAGE = "disk.qcow2"
SIZE = 3 * 1024**3
"""Bytes of the bootstrapped disk, as Debian's own cloud images have; ``disk.finish`` enlarges it."""

_FAMILIES: dict[str, ModuleType] = {"debian": debian}
"""By a manifest's ``bootstrap.kind``; a new family is a module with the same functions."""


def archives(archive: PackageArchive, mirrors: tuple[tuple[str, str], ...]) -> BuildArchives:
    """What serves this archive on this host, for the time of the build only."""
    family = _FAMILIES[archive.kind]
    return BuildArchives(lines=family.sources(archive, mirrors), options=family.options())


def load(spec: ImageSpec, folder: Path, outputs: Mapping[str, object]) -> VerifiedImage:
    """The image that an earlier ``build`` left in ``folder``, from its receipt. Its bytes are hashed when consumed."""
    return VerifiedImage(
        id=spec.id,
        path=folder / IMAGE,
        digest=decode(Digest, outputs["digest"]),
        format="qcow2",
        origin=decode(Origin, outputs["origin"]),
    )


def build(
    spec: ImageSpec,
    *,
    archives: BuildArchives,
    acceleration: Acceleration,
    cache: Path,
    out: Path,
    log: Path,
    step: Step,
) -> VerifiedImage:
    """Write ``out/disk.qcow2`` from the packages that the manifest lists.

    The evidence is the primary key that signed the suite's index; the checksum that was validated is that index's,
    and its newest date is the release date. Raises BuildError, HostError, VerificationError.
    """
    if spec.archive is None:
        raise BuildError(f"{spec.id} has no package archive to bootstrap from", where=spec.where)
    family = _FAMILIES[spec.archive.kind]
    root, disk, image = out / "root.tar", out / "disk.raw", out / IMAGE
    family.root_archive(spec.archive, spec.id.arch, archives, root, log=log, on_line=step.detail)
    indexes = family.releases(root, spec.archive.keyring, scratch=out)
    assemble.partition(disk, SIZE, log=log)
    step.detail("starting the appliance")
    with appliance([disk], acceleration=acceleration, cache=cache, log=log) as guest:
        step.detail("unpacking the root file system")
        assemble.populate(guest, root)
        step.detail("installing the boot loader")
        defaults = family.configure(guest, spec.id.arch, spec.id.distro)
        guest.fstrim("/")
    step.watch(image, "compressing:")
    options = ["-c", "-m", "8", "-o", "compression_type=zstd"]
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, disk, image], log=log)
    main = next((one for one in indexes if one.name.endswith(f"_dists_{spec.archive.suite}_InRelease")), None)
    if main is None:
        got = " ".join(index.name for index in indexes)
        raise VerificationError("the suite's own signed index is missing", expected=spec.archive.suite, got=got)
    released = max(index.date for index in indexes)
    for file in (root, disk, *(out / index.name for index in indexes)):
        file.unlink()
    return VerifiedImage(
        id=spec.id,
        path=image,
        digest=hash_file(image),
        format="qcow2",
        origin=Origin(
            method="bootstrap",
            url=f"{defaults[0].split()[1]}/dists/{spec.archive.suite}/InRelease",
            checksum=main.digest,
            build=f"{released:%Y%m%d}",
            released_at=released,
            evidence=Evidence(kind="apt", value=main.fingerprints[0]),
            pulled_at=datetime.now(UTC).replace(microsecond=0),
        ),
    )
