"""From what the manifest asks for to one concrete, proved file."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from kmi.errors import UsageError, VerificationError
from kmi.host.http import Http
from kmi.host.ui import Step
from kmi.model.spec import CloudImage, ImageSpec, Trust
from kmi.model.stages import Locked
from kmi.settings import Settings
from kmi.upstream import names
from kmi.upstream.builds import BUILDS
from kmi.upstream.located import FIRST, Located, possible
from kmi.upstream.names import fill
from kmi.upstream.prove import OVER_IMAGE, prove
from kmi.upstream.sources import SOURCES


def resolve(spec: ImageSpec, *, http: Http, settings: Settings, scratch: Path, step: Step) -> Locked:
    """Look the image up at its publisher: once a run, every later stage uses the result.

    Without a build id of the publisher's, the release date (``20250210``) stands for it. UsageError if the manifest
    names no cloud image; NetworkError; VerificationError.
    """
    image = spec.cloud_image
    if image is None:
        own = spec.own_disk
        hint = f"--source byo --disk FILE, with {own.where}" if own else "try --source bootstrap"
        raise UsageError(f"{spec.id} has no image to download", where=spec.where, hint=hint)
    build = None
    if image.build and image.build.kind in BUILDS:
        step.detail(f"asking {image.build.url} for the current build")
        build = BUILDS[image.build.kind](image.build, http)
        image = _at(image, build)
    step.detail(f"asking for {image.checksums}")
    proved = partial(prove, trust=image.trust, http=http, keyrings=settings.keyrings, scratch=scratch)
    located = SOURCES[image.kind](image, http=http, prove=proved)
    _plausible(located.released_at, image.url)
    build = located.build or build
    if build and not names.word(build):
        raise VerificationError("the publisher's build has no usable name", got=repr(build[:80]), where=image.checksums)
    return Locked(
        id=spec.id,
        url=located.url,
        digest=located.digest,
        size=located.size,
        build=build or f"{located.released_at:%Y%m%d}",
        released_at=located.released_at,
        evidence=located.evidence,
        checksums=image.checksums,
        format=image.format,
        packing=image.packing,
        content=located.content,
        signed=_signed(image.trust, located, build),
    )


def _at(image: CloudImage, build: str) -> CloudImage:
    """The image with its build filled in."""
    signature = image.trust.signature
    return replace(
        image,
        url=fill(image.url, build),
        checksums=fill(image.checksums, build),
        trust=replace(image.trust, signature=signature and fill(signature, build)),
    )


def _signed(trust: Trust, located: Located, build: str | None) -> Trust | None:
    """What remains to be proved once the image is there. An index may name the signature itself."""
    if trust.over != OVER_IMAGE:
        return None
    return replace(trust, signature=located.signature or fill(trust.signature or "", build or ""))


def _plausible(released: datetime, where: str) -> None:
    """A server's date gets into the image: one that no release can have is no date."""
    if not possible(released):
        raise VerificationError(
            "the publisher's image has an impossible date",
            expected=f"{FIRST:%Y-%m-%d} to today",
            got=released.isoformat(),
            where=where,
            hint="if the date is right, the clock of this machine is wrong",
        )
