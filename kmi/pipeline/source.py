"""Where the disk comes from: the publisher's cloud image, a bootstrap from the package archive, or the user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kmi.bootstrap import build as bootstrap_build
from kmi.catalogue import locks
from kmi.errors import NetworkError, UsageError, VerificationError
from kmi.host import doctor
from kmi.host.ui import Step, amount
from kmi.model.codec import encode
from kmi.model.spec import BuildArchives, ImageSpec
from kmi.model.stages import Locked, VerifiedImage
from kmi.pipeline.site import Site
from kmi.upstream import adopt as upstream_adopt
from kmi.upstream import fetch as upstream_fetch
from kmi.upstream.resolve import resolve


def bootstrapped(spec: ImageSpec, as_of: str, site: Site) -> tuple[VerifiedImage, BuildArchives]:
    """The image, and the archives of this host that customise goes on using."""
    if spec.archive is None:
        raise UsageError(f"{spec.id} cannot be bootstrapped", expected="a bootstrap: section", where=spec.where)
    archives = bootstrap_build.archives(spec.archive, site.settings.package_mirrors)

    def make(out: Path, step: Step) -> Mapping[str, object]:
        doctor.room(site.store.root, doctor.ROOM)
        image = bootstrap_build.build(
            spec,
            archives=archives,
            acceleration=site.acceleration(spec.id.arch),
            cache=site.store.root,
            out=out,
            log=site.log / f"{spec.id}-bootstrap.log",
            step=step,
        )
        return {"digest": image.digest, "origin": image.origin}

    inputs = {
        "version": bootstrap_build.VERSION,
        "image": str(spec.id),
        "archive": spec.archive,
        "suites": sorted({line.split()[-2] for line in archives.lines}),
        "as_of": as_of,
        "size": bootstrap_build.SIZE,
    }
    stage = site.stage(spec.id, "bootstrap", inputs, make, told=lambda o: _trust(o["origin"]))
    return bootstrap_build.load(spec, stage.path, stage.outputs), archives


def downloaded(spec: ImageSpec, site: Site) -> VerifiedImage:
    """The publisher's cloud image: as a committed lock names it, else looked up on every run; fetched once."""
    locked, lock = _locked(spec, site)
    with site.ui.step(str(spec.id), "fetch") as step:
        image = upstream_fetch.cached(locked, site.store)
        if image:
            step.reuse(f"{locked.digest.algorithm}:{locked.digest.short}… is in the cache")
        else:
            with _outdated(locked, lock):
                image = upstream_fetch.fetch(
                    locked, store=site.store, http=site.http, step=step, keyrings=site.settings.keyrings
                )
            size = amount(image.path.stat().st_size)
            step.done(f"{size}, {locked.digest.algorithm} matches, {image.origin.evidence}")
    site.record(spec.id, "fetch", step, "", encode(locked), {"digest": image.digest, "origin": image.origin})
    return image


def own_disk(spec: ImageSpec, disk: Path | None) -> Path:
    """The user's disk, if the image is made of one and it was named. UsageError."""
    own = upstream_adopt.wanted(spec)
    if disk is None:
        raise UsageError(f"{spec.id} is made of a disk that you bring", expected="--disk FILE", where=spec.where,
                         hint=own.where)  # fmt: skip
    return disk


def brought(spec: ImageSpec, site: Site) -> VerifiedImage:
    """The disk that the user named. UsageError without one."""
    disk = own_disk(spec, site.disk)
    with site.ui.step(str(spec.id), "adopt") as step:
        image = upstream_adopt.adopt(spec, disk, site.store, step)
    inputs = {"disk": str(disk), "format": image.format}
    site.record(spec.id, "adopt", step, "", inputs, {"digest": image.digest, "origin": image.origin})
    return image


def _locked(spec: ImageSpec, site: Site) -> tuple[Locked, str]:
    """What to fetch, and the ``file:line`` of the lock that says so, empty where the publisher was asked."""
    with site.ui.step(str(spec.id), "resolve") as step, site.store.scratch() as scratch:
        entry = None if site.unlocked else locks.find(site.settings.distros, spec)
        if entry:
            locked, lock = entry.locked, entry.where
            step.reuse(f"{_name(locked)}, {_proof(locked)}, as locked in {lock}")
        else:
            locked, lock = resolve(spec, http=site.http, settings=site.settings, scratch=scratch, step=step), ""
            step.done(f"{_name(locked)}, {_proof(locked)}")
    site.record(spec.id, "resolve", step, "", {**encode(spec.cloud_image), "lock": lock}, locked)
    return locked, lock


@contextmanager
def _outdated(locked: Locked, lock: str) -> Iterator[None]:
    """A publisher who has removed or replaced what the lock names cannot be told from a damaged mirror or an attack:
    a person decides, and the error says how."""
    try:
        yield
    except (VerificationError, NetworkError) as error:
        if lock:
            again = f"`kmi lock {locked.id.distro}:{locked.id.release}` asks what is current"
            told = f"{lock} names this file; if its publisher removed or replaced it, {again}"
            error.hint = told if isinstance(error, VerificationError) or not error.hint else f"{error.hint}; {told}"
        raise


def _proof(locked: Locked) -> str:
    """What proves it; of an image that is signed itself, what will."""
    return f"to be proved by {locked.signed.kind} over the image" if locked.signed else str(locked.evidence)


def _name(locked: Locked) -> str:
    return locked.url.rpartition("/")[2]


def _trust(origin: Mapping[str, Any]) -> str:
    evidence = origin["evidence"]
    return f"{evidence['kind']}:{evidence['value']}".rstrip(":")
