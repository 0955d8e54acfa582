"""The catalogue as a job matrix for GitHub Actions: what a scheduled run builds and publishes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec
from kmi.pipeline.releases import Terms, reason, refusal
from kmi.policy.tiers import GATES

RUNNERS = {Arch.AMD64: "ubuntu-24.04", Arch.ARM64: "ubuntu-24.04-arm"}
"""GitHub's own runners, by the architecture that they build for."""


def matrix(
    specs: Iterable[ImageSpec], terms: Terms, left_out: Callable[[str], None]
) -> dict[str, list[dict[str, str]]]:
    """``{"include": […]}`` with a row for each image, sorted; ``left_out`` hears of the others, and why.

    ``image`` is a selector; ``name`` (of the release) and ``id`` are for files and artifacts, whose names take no
    colon.
    """
    rows = []
    for spec in sorted(specs, key=lambda spec: spec.id):
        if why := _missing(spec, terms):
            left_out(why)
            continue
        rows.append(
            {
                "image": f"{spec.id.distro}:{spec.id.release}",
                "arch": spec.id.arch.value,
                "runner": RUNNERS[spec.id.arch],
                "tier": spec.tier.value,
                "name": spec.id.name,
                "id": str(spec.id),
            }
        )
    return {"include": rows}


def _missing(spec: ImageSpec, terms: Terms) -> str:
    """Why an image is not in the matrix; empty if it is."""
    if error := refusal(spec, terms):
        return reason(error)
    if not (GATES[spec.tier].build and GATES[spec.tier].publish):
        return f"{spec.id} is {spec.tier}, which is not published"
    if spec.cloud_image is None:
        return f"{spec.id} has no image to download"
    return "" if spec.id.arch in RUNNERS else f"{spec.id} has no runner"
