"""From what the manifest asks for to one concrete, proved file."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from kmi.errors import UsageError
from kmi.host.http import Http
from kmi.host.ui import Step
from kmi.model.spec import ImageSpec
from kmi.model.stages import Locked
from kmi.settings import Settings
from kmi.upstream.prove import prove
from kmi.upstream.sources import SOURCES


def resolve(spec: ImageSpec, *, http: Http, settings: Settings, scratch: Path, step: Step) -> Locked:
    """Look the image up at its publisher: once a run, every later stage uses the result.

    Without a build id of the publisher's, the release date (``20250210``) stands for it. UsageError if the manifest
    names no cloud image; NetworkError; VerificationError.
    """
    image = spec.cloud_image
    if image is None:
        raise UsageError(f"{spec.id} has no image to download", where=spec.where, hint="try --source bootstrap")
    step.detail(f"asking for {image.checksums}")
    proved = partial(prove, trust=image.trust, http=http, keyrings=settings.keyrings, scratch=scratch)
    located = SOURCES[image.kind](image, http=http, prove=proved)
    return Locked(
        id=spec.id,
        url=located.url,
        digest=located.digest,
        size=located.size,
        build=located.build or f"{located.released_at:%Y%m%d}",
        released_at=located.released_at,
        evidence=located.evidence,
        checksums=image.checksums,
        format=image.format,
    )
