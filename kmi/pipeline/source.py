"""Where the disk comes from: the publisher's cloud image, or a bootstrap from the package archive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kmi.bootstrap import build as bootstrap_build
from kmi.errors import UsageError
from kmi.host import doctor
from kmi.host.ui import Step, amount
from kmi.model.codec import encode
from kmi.model.spec import BuildArchives, ImageSpec
from kmi.model.stages import VerifiedImage
from kmi.pipeline.site import Site
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
    """The publisher's cloud image: resolved on every run, fetched once."""
    with site.ui.step(str(spec.id), "resolve") as step, site.store.scratch() as scratch:
        locked = resolve(spec, http=site.http, settings=site.settings, scratch=scratch, step=step)
        step.done(f"{locked.url.rpartition('/')[2]}, {locked.evidence}")
    site.record(spec.id, "resolve", step, "", encode(spec.cloud_image), locked)
    with site.ui.step(str(spec.id), "fetch") as step:
        image = upstream_fetch.cached(locked, site.store)
        if image:
            step.reuse(f"{locked.digest.algorithm}:{locked.digest.short}… is in the cache")
        else:
            image = upstream_fetch.fetch(locked, store=site.store, http=site.http, step=step)
            step.done(f"{amount(image.path.stat().st_size)}, {locked.digest.algorithm} matches")
    site.record(spec.id, "fetch", step, "", encode(locked), {"digest": image.digest, "origin": image.origin})
    return image


def _trust(origin: Mapping[str, Any]) -> str:
    evidence = origin["evidence"]
    return f"{evidence['kind']}:{evidence['value']}".rstrip(":")
