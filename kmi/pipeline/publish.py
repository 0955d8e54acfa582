"""From an index on disk to tags in a registry: push by digest, boot what was pushed, gate, sign and attest, verify, tag
last."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from kmi.errors import GateError
from kmi.host.store import write_text
from kmi.model.digest import Digest
from kmi.model.metadata import Metadata
from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec
from kmi.model.stages import OciImage, Promoted, Published, TestReport
from kmi.oci import reference as references
from kmi.oci import registry
from kmi.pipeline import boot
from kmi.pipeline.build import Built
from kmi.pipeline.results.statement import predicate
from kmi.pipeline.site import Site
from kmi.pipeline.trial import Rules
from kmi.publish import embedded, keys
from kmi.publish.keyless import Identity
from kmi.publish.keys import KeyPair
from kmi.publish.promote import promote
from kmi.publish.push import push
from kmi.publish.sign import sign
from kmi.publish.tags import plan_tags


def publish(
    specs: tuple[ImageSpec, ...],
    built: Built,
    *,
    signer: KeyPair | Identity,
    host: Arch,
    site: Site,
    reports: Mapping[Digest, TestReport] | None = None,
) -> Promoted:
    """Publish a built index. The registry answers already (``embedded.serving``).

    Each image is booted from what the registry gives back, unless ``reports`` are given: then none is booted here, and
    one that has no report is refused. GateError if a check blocks.
    """
    spec, log = specs[0], site.log / "publish.log"
    if reports is not None:
        _reported(built, reports)
    repository = embedded.repository(site.settings, spec.id.distro)
    with site.ui.step(spec.id.name, "push") as step:
        published = push(built.index, repository, log=log, step=step)
        step.done(f"{repository}@{str(published.digest)[:19]}…")
    site.record(spec.id.name, "push", step, "", {"repository": repository}, published)
    seen = tuple(_seen(spec, image, built, published, reports, host=host, site=site) for image in built.index.images)
    allow(spec, seen, site)
    if isinstance(signer, KeyPair) and signer.created:
        site.ui.note(f"a new key pair was made: {signer.public}")
    with site.ui.step(spec.id.name, "sign") as step:
        plan = plan_tags(
            published,
            release=spec.id.release,
            codename=spec.codename,
            default=spec.default,
            day=datetime.now(UTC).date(),
            public_key=keys.proof(signer),
            log=log,
        )
        attested = sign(published, plan, signer, results=_results(spec, seen), log=log, step=step)
    told = {"key": signer.public.name} if isinstance(signer, KeyPair) else {"identity": signer.subject}
    site.record(spec.id.name, "sign", step, "", told, attested.tags)
    with site.ui.step(spec.id.name, "tag") as step:
        promoted = promote(attested, log=log, step=step)
    site.record(spec.id.name, "tag", step, "", {}, promoted.tags)
    return promoted


def _results(spec: ImageSpec, reports: tuple[TestReport, ...]) -> dict[Digest, dict[str, object]]:
    """The test result of each image, for its attestation."""
    rules = Rules.of(spec)
    return {one.subject: predicate(one, rules.verdict(one), rules.tier) for one in reports}


def _reported(built: Built, reports: Mapping[Digest, TestReport]) -> None:
    """GateError, before anything is pushed, unless every image has a report for each firmware that it claims."""
    for image in built.index.images:
        report = reports.get(image.digest)
        wanted = {f"{image.id.arch}/{machine}" for machine in boot.firmware(built.metadata[image.digest])}
        if report and report.simulated:
            raise GateError(
                f"{image.id} was not really tested",
                expected="a report of a real machine or cluster",
                got=f"a simulated {report.runner}",
            )
        if report is None or not wanted <= {result.machine for result in report.results}:
            raise GateError(
                f"{image.id} was not tested",
                expected=f"a test report of {image.digest} on {', '.join(sorted(wanted))}",
                got=boot.summary(report) if report else "reports of " + (", ".join(map(str, reports)) or "no image"),
                hint="`kmi build --test` leaves one in the receipt; without --report the image is booted here",
            )


def _seen(
    spec: ImageSpec,
    image: OciImage,
    built: Built,
    published: Published,
    reports: Mapping[Digest, TestReport] | None,
    *,
    host: Arch,
    site: Site,
) -> TestReport:
    """The report of one architecture."""
    metadata: Metadata = built.metadata[image.digest]
    if reports is not None:
        report = reports[image.digest]
        with site.ui.step(str(image.id), "test") as step:
            step.reuse(f"{boot.summary(report)}, as reported")
        site.record(image.id, "test", step, "", {"image": image.digest}, {"report": report})
        return report

    def pulled(scratch: Path) -> Path:
        subject = references.parse(published.reference).pinned(image.digest)
        return registry.pull(subject, scratch, image.id.arch).root

    return boot.tested(image, metadata, pulled, rules=Rules.of(spec), host=host, site=site)


def allow(spec: ImageSpec, reports: tuple[TestReport, ...], site: Site) -> None:
    """Say what failed and only advises. GateError if the image's tier does not allow it to be published."""
    verdict = Rules.of(spec).verdict(*reports)
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


def leave_commands(promoted: Promoted, signer: KeyPair | Identity, command: str, site: Site) -> str:
    """Write ``verify.sh`` beside the receipt: the command that verifies what was published. Returns the command."""
    words = [command, "verify", promoted.published.reference]
    if isinstance(signer, KeyPair):
        words += ["--key", shlex.quote(str(signer.public))]
    else:
        words += ["--identity", shlex.quote(signer.subject), "--issuer", shlex.quote(signer.issuer)]
    if embedded.is_embedded(references.parse(promoted.published.reference).host):
        words += ["--cache", shlex.quote(str(site.settings.cache))]
    text = " ".join(words)
    write_text(site.folder / "verify.sh", f"#!/bin/sh\nexec {text}\n")
    return text
