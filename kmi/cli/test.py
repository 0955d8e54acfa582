"""``kmi test``: boot an image as KubeVirt would, and tell what each check saw."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kmi.cli.build import host
from kmi.cli.context import Context
from kmi.documents import shown
from kmi.errors import UsageError
from kmi.host import doctor
from kmi.host.accel import probe
from kmi.host.ui import Reporter, duration
from kmi.model.platform import Firmware
from kmi.model.spec import Tier

if TYPE_CHECKING:
    from kmi.model.stages import TestReport, Verdict
    from kmi.pipeline.target import Target
    from kmi.pipeline.trial import Rules

_TIERS = [tier.value for tier in Tier if tier is not Tier.PLANNED]
_SEEDS = ("nocloud", "configdrive", "ignition")


def add(verbs: Any, shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        "test",
        parents=[shared],
        help="boot an image as KubeVirt would, and check it",
        description="Boot an image from the exact bytes of its layer and run every check that applies. TARGET is what "
        "was built here last (DISTRO[:RELEASE]), an OCI layout, or an image in a registry, also one that kmi did not "
        "build. Exit status 5 if a check fails that the tier blocks on. Prints a line for each image.",
    )
    parser.add_argument("target", metavar="TARGET", help="DISTRO[:RELEASE], folder of an OCI layout, or REF")
    parser.add_argument("--arch", help="an architecture, or all (default: this machine's)")
    parser.add_argument("--on", choices=("qemu", "kubevirt"), default="qemu",
                        help="this machine (default), or the cluster that kubeconfig names")  # fmt: skip
    parser.add_argument("--tier", choices=_TIERS, help="judge by this tier (default: the image's in the catalogue)")
    parser.add_argument("--firmware", action="append", choices=[one.value for one in Firmware], metavar="NAME",
                        help="boot on this firmware; once for each (default: what the image claims)")  # fmt: skip
    parser.add_argument("--seed", choices=_SEEDS, help="provisioning disk (default: what the image's init reads)")
    parser.add_argument("--user", default="", help="the default user, where the image does not say")
    parser.add_argument("--init", choices=("cloud-init", "ignition", "none"), default="",
                        help="what provisions it, where the image does not say (default: cloud-init)")  # fmt: skip
    parser.add_argument("--agent", choices=("upstream", "absent"), default="",
                        help="whether it has a guest agent, where the image does not say")  # fmt: skip
    parser.add_argument("--results", type=Path, metavar="DIR", help="where results and logs go (default: below build/)")
    parser.add_argument("--context", metavar="NAME", help="context of the kubeconfig, with --on kubevirt")
    parser.add_argument("--namespace", metavar="NAME", help="namespace of the cluster, with --on kubevirt")
    parser.add_argument("--pull-secret", metavar="NAME", help="the cluster's Secret to pull with")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """An image after its test."""

    target: Target
    rules: Rules
    report: TestReport
    verdict: Verdict
    folder: Path


def run(args: argparse.Namespace, context: Context) -> int:
    from kmi import catalogue
    from kmi.oci import reference as references
    from kmi.pipeline import target as targets
    from kmi.publish import embedded

    started, settings = time.monotonic(), context.settings
    _cluster_only(args)
    alone = "/" in args.target or references.layout_path(args.target) is not None
    known = (
        catalogue.Catalogue(specs=()) if alone and not settings.distros.exists() else catalogue.load(settings.distros)
    )
    doctor.require({"boot"} if args.on == "qemu" else {"cluster"}, settings.cache)
    remote = "/" in args.target and references.layout_path(args.target) is None
    registry = embedded.serving(references.parse(args.target).host, settings, create=False) if remote else nullcontext()
    with registry, context.store.scratch() as scratch:
        with context.ui.step(args.target[-40:], "find") as step:
            found = targets.find(
                args.target, args.arch, host(), catalogue=known, output=settings.output, scratch=scratch,
                told=step.detail,
            )  # fmt: skip
            step.done(", ".join(f"{one.name} {one.subject.algorithm}:{one.subject.short}" for one in found))
        wanted = [_with_facts(one, args) for one in found]
        folders = _folders(wanted, args.results, context)
        tried = [
            _try(one, folder, args, context, scratch / str(number))
            for number, (one, folder) in enumerate(zip(wanted, folders, strict=True))
        ]
    _tell(tried, args, context)
    context.ui.line(f"done in {duration(time.monotonic() - started)}")
    _refuse(tried)
    return 0


def _cluster_only(args: argparse.Namespace) -> None:
    """UsageError for options that QEMU would leave unheeded."""
    given = [name for name in ("context", "namespace", "pull_secret") if getattr(args, name) is not None]
    if given and args.on != "kubevirt":
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{names}: no cluster is asked for", expected="--on kubevirt", got=f"--on {args.on}")


def _with_facts(target: Target, args: argparse.Namespace) -> Target:
    """What the user says of an image counts where the image says nothing. UsageError if both do."""
    from kmi.pipeline.target import with_facts

    if target.metadata["distro"] and (args.user or args.init or args.agent):
        raise UsageError(
            "the image says of itself what it is", got=shown(target.metadata["title"]),
            hint="--user, --init and --agent are for images that kmi did not build",
        )  # fmt: skip
    firmware = " ".join(args.firmware or ())
    return with_facts(target, user=args.user, init=args.init, agent=args.agent, firmware=firmware)


def _try(target: Target, folder: Path, args: argparse.Namespace, context: Context, scratch: Path) -> _Tried:
    """Boot one image, keep in ``folder`` what was seen, and judge it."""
    from kmi.pipeline import trial

    (folder / "log").mkdir(parents=True, exist_ok=True)  # what cannot be kept is told before anything boots
    for name in trial.RESULTS:  # an earlier run's would pass for this one's if this one breaks off
        (folder / name).unlink(missing_ok=True)
    rules = trial.Rules.of(target.spec) if target.spec else trial.Rules(tier=Tier.PREVIEW)
    if args.tier:
        rules = trial.Rules(tier=Tier(args.tier), waivers=rules.waivers)
    elif target.spec is None:
        context.ui.note(f"{target.name} is not in the catalogue: its checks only advise; --tier makes them block")
    scratch.mkdir()
    boot = _on_kubevirt if args.on == "kubevirt" else _on_qemu
    report = boot(target, folder, args, context, scratch)
    repository = target.reference.name if target.reference else ""
    trial.keep(report, rules, target.name, folder, repository=repository)
    return _Tried(target=target, rules=rules, report=report, verdict=rules.verdict(report), folder=folder)


def _folders(targets: Sequence[Target], results: Path | None, context: Context) -> list[Path]:
    """Where each image's results go: below ``results`` by architecture, and by name as well where one architecture has
    several images."""
    from kmi.pipeline.trial import FOLDER

    if results is None:
        return [context.settings.output / one.name / FOLDER / one.arch for one in targets]
    if len({one.arch for one in targets}) == len(targets):
        return [results / one.arch for one in targets]
    return [results / one.name / one.arch for one in targets]


def _on_qemu(target: Target, folder: Path, args: argparse.Namespace, context: Context, scratch: Path) -> TestReport:
    from kmi.boot import check
    from kmi.boot.seed import SeedKind
    from kmi.pipeline.boot import firmware, summary

    with context.ui.step(target.name, "test") as step:
        report = check.check(
            target.layout,
            target.subject,
            target.arch,
            metadata=target.metadata,
            machines=firmware(target.metadata),
            acceleration=probe(target.arch, context.settings.cache),
            scratch=scratch,
            logs=folder / "log",
            step=step,
            seed=SeedKind(args.seed) if args.seed else None,
        )
        step.done(summary(report))
    return report


def _on_kubevirt(target: Target, folder: Path, args: argparse.Namespace, context: Context, scratch: Path) -> TestReport:
    """UsageError for an image that no cluster can pull."""
    from kmi.boot.seed import SeedKind
    from kmi.pipeline.cluster import tested_on_cluster

    if target.reference is None:
        raise UsageError(
            "a cluster pulls images from a registry", expected="a reference: host[:port]/path:tag or …@sha256:hex",
            got=target.name, hint="`kmi publish --from LAYOUT --to REGISTRY` brings it there",
        )  # fmt: skip
    return tested_on_cluster(
        target.reference, target.metadata, target.arch, name=target.name, scratch=scratch, logs=folder / "log",
        ui=context.ui, context=args.context, namespace=args.namespace,
        seed=SeedKind(args.seed) if args.seed else None, pull_secret=args.pull_secret,
    )  # fmt: skip


def _tell(tried: list[_Tried], args: argparse.Namespace, context: Context) -> None:
    from kmi.pipeline.results.files import results
    from kmi.pipeline.trial import word

    for one in tried:
        _table(one, context.ui)
    if args.json:
        context.say_json([
            {"image": one.target.name, **results(one.report, one.verdict, one.rules.tier)} for one in tried
        ])  # fmt: skip
        return
    for one in tried:
        context.say(f"{one.target.name} {one.report.subject} {word(one.report, one.verdict)}")


def _table(tried: _Tried, ui: Reporter) -> None:
    """What failed or blocks, also because it was not made; and where the rest is."""
    from kmi.pipeline.results.statement import among, rows

    ui.line()
    for result in rows(tried.report, tried.verdict):
        judged = next((one for one in tried.verdict.blocking if among(one, (result,))), None)
        if judged or result.outcome.value == "failed":
            word, detail = ("blocks", judged.detail) if judged else ("advises", result.detail)
            ui.line(f"  {word:<8} {result.machine:<20} {result.check:<16} {detail}")
    simulated = ", simulated" if tried.report.simulated else ""
    ui.line(f"  judged by         tier {tried.rules.tier}, on {tried.report.runner}{simulated}")
    ui.line(f"  results           {tried.folder}/{{results.json,junit.xml,statement.json,log/}}")
    ui.line()


def _refuse(tried: list[_Tried]) -> None:
    """GateError for the first image that its tier refuses."""
    from kmi.pipeline.trial import refused

    for one in tried:
        if one.verdict.blocking:
            where = one.target.spec.where if one.target.spec else None
            raise refused(one.target.name, one.rules, one.verdict, where=where, log=one.folder / "log")
