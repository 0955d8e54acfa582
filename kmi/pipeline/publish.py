"""From an index on disk to tags in a registry: push by digest, boot what was pushed, gate, sign, verify, tag last."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from kmi.boot import check as boot
from kmi.errors import GateError
from kmi.host.store import write_text
from kmi.host.ui import Step
from kmi.model.codec import decode
from kmi.model.platform import Firmware
from kmi.model.spec import ImageSpec
from kmi.model.stages import OciImage, Outcome, Promoted, Published, TestReport
from kmi.oci import reference as references
from kmi.oci import registry
from kmi.pipeline.build import Built
from kmi.pipeline.site import Site
from kmi.policy.gate import gate
from kmi.publish import embedded, keys
from kmi.publish.promote import promote
from kmi.publish.push import push
from kmi.publish.sign import sign
from kmi.publish.tags import plan_tags


def publish(specs: tuple[ImageSpec, ...], built: Built, *, site: Site) -> Promoted:
    """Publish a built index. The registry answers already (``embedded.serving``). GateError if a check blocks."""
    spec, log = specs[0], site.log / "publish.log"
    repository = embedded.repository(site.settings, spec.id.distro)
    with site.ui.step(spec.id.name, "push") as step:
        published = push(built.index, repository, log=log, step=step)
        step.done(f"{repository}@{str(published.digest)[:19]}…")
    site.record(spec.id.name, "push", step, "", {"repository": repository}, published)
    reports = tuple(_tested(image, built, published, site) for image in built.index.images)
    _gate(spec, reports, site)
    pair = keys.ensure(site.settings.key, log=log)
    if pair.created:
        site.ui.note(f"a new key pair was made: {pair.public}")
    with site.ui.step(spec.id.name, "sign") as step:
        plan = plan_tags(
            published,
            release=spec.id.release,
            codename=spec.codename,
            default=spec.default,
            day=datetime.now(UTC).date(),
            public_key=pair.public,
            log=log,
        )
        attested = sign(published, plan, pair, log=log, step=step)
    site.record(spec.id.name, "sign", step, "", {"key": pair.public.name}, attested.tags)
    with site.ui.step(spec.id.name, "tag") as step:
        promoted = promote(attested, log=log, step=step)
    site.record(spec.id.name, "tag", step, "", {}, promoted.tags)
    return promoted


class _Unsound(Exception):
    """Carries a report with a failure out of the cached stage: only a good one is worth keeping."""

    def __init__(self, report: TestReport) -> None:
        super().__init__()
        self.report = report


def _tested(image: OciImage, built: Built, published: Published, site: Site) -> TestReport:
    """Boot one architecture from the bytes that the registry gives back."""
    metadata = built.metadata[image.digest]
    began = time.monotonic()

    def make(out: Path, step: Step) -> Mapping[str, object]:
        step.detail("pulling the image back")
        scratch = out / "scratch"
        scratch.mkdir()
        subject = references.parse(published.reference).pinned(image.digest)
        layout = registry.pull(subject, scratch / "oci", image.id.arch)
        report = boot.check(
            layout.root,
            image.digest,
            image.id.arch,
            metadata=metadata,
            machines=tuple(Firmware(name) for name in metadata["firmware"].split()),
            acceleration=site.acceleration(image.id.arch),
            scratch=scratch,
            logs=site.log,
            step=step,
        )
        shutil.rmtree(scratch)
        if any(result.outcome is Outcome.FAILED for result in report.results):
            raise _Unsound(report)
        return {"report": report}

    inputs = {"version": boot.VERSION, "image": image.digest, "firmware": metadata["firmware"]}
    try:
        stage = site.stage(image.id, "test", inputs, make, told=lambda o: summary(decode(TestReport, o["report"])))
    except _Unsound as unsound:
        seconds = time.monotonic() - began
        site.failed(image.id, "test", seconds, inputs, {"report": unsound.report})
        return unsound.report
    report: TestReport = decode(TestReport, stage.outputs["report"])
    return report


def summary(report: TestReport) -> str:
    """``amd64/bios 4 passed · amd64/uefi 3 passed, 1 failed``."""
    parts = []
    for machine in dict.fromkeys(result.machine for result in report.results):
        outcomes = [result.outcome for result in report.results if result.machine == machine]
        counts = [f"{outcomes.count(outcome)} {outcome}" for outcome in Outcome if outcome in outcomes]
        parts.append(f"{machine} {', '.join(counts)}")
    return " · ".join(parts)


def _gate(spec: ImageSpec, reports: tuple[TestReport, ...], site: Site) -> None:
    verdict = gate(spec.tier, reports)
    for result in verdict.advisory:
        site.ui.warn(f"{spec.id.name}: {result.check} on {result.machine} failed (advisory): {result.detail}")
    if not verdict.allowed:
        lines = [f"{r.check} on {r.machine}: {r.outcome}, {r.detail}" for r in verdict.blocking]
        raise GateError(
            f"{spec.id.name} may not be published",
            expected=f"what tier {spec.tier} demands",
            got="\n           ".join(lines) or f"tier {spec.tier} is not published",
            where=spec.where,
            hint="the console logs of the boot lie in the folder named below",
            log=site.log,
        )


def leave_commands(promoted: Promoted, public_key: Path, command: str, site: Site) -> str:
    """Write ``verify.sh`` beside the receipt: the command that verifies what was published. Returns the command."""
    cache = (
        ""
        if not embedded.is_embedded(references.parse(promoted.published.reference).host)
        else (f" --cache {shlex.quote(str(site.settings.cache))}")
    )
    text = f"{command} verify {promoted.published.reference} --key {shlex.quote(str(public_key))}{cache}"
    write_text(site.folder / "verify.sh", f"#!/bin/sh\nexec {text}\n")
    return text
