"""Boot an image in a cluster, from the registry that the cluster itself pulls it from, and see what it does."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime
from pathlib import Path

from kmi.boot import seed as seeds
from kmi.boot import ssh
from kmi.boot.console import Console, Patience
from kmi.boot.seed import SeedKind
from kmi.errors import NetworkError, UsageError
from kmi.host.patience import Patience as ServerPatience
from kmi.host.ui import Reporter, Step
from kmi.kubevirt import kubeconfig, state
from kmi.kubevirt.api import ApiError, connected
from kmi.kubevirt.kubeconfig import Cluster
from kmi.kubevirt.objects import Drive, Seed, instance
from kmi.kubevirt.removal import sweep
from kmi.kubevirt.resources import Resources
from kmi.kubevirt.trial import Limits, trial
from kmi.model.metadata import Metadata
from kmi.model.platform import Arch, Firmware
from kmi.model.stages import Outcome, TestReport
from kmi.oci.reference import Reference
from kmi.pipeline.boot import summary
from kmi.pipeline.cluster_checks import Guest, judged

RUNNER = "kubevirt"
SERVER = ServerPatience(connect=10.0, stall=20.0)
SIMULATED = "simulated"
"""What a version of Kubernetes contains that is none: the servers that kmi's own tests bring."""
PATIENT = Patience(quiet=300, overall=3600, least=90)
"""With guests: whether a cluster emulates them is not always known."""
_HOSTNAME = "kmi-test"
_PREFERRED = (Firmware.BIOS, Firmware.NATIVE, Firmware.UEFI, Firmware.SECURE_BOOT)
"""As KubeVirt chooses where a VirtualMachine says nothing; other firmware is what ``--on qemu`` boots."""
_SEEDS = {"cloud-init": SeedKind.NOCLOUD, "ignition": SeedKind.IGNITION}


def tested_on_cluster(
    reference: Reference,
    metadata: Metadata,
    arch: Arch,
    *,
    name: str,
    scratch: Path,
    logs: Path,
    ui: Reporter,
    context: str | None = None,
    namespace: str | None = None,
    seed: SeedKind | None = None,
    pull_secret: str | None = None,
    limits: Limits | None = None,
    patience: Patience = PATIENT,
) -> TestReport:
    """Boot ``reference``, one architecture's image by digest, in the cluster of a kubeconfig's ``context``, in
    ``namespace`` (defaults: the current ones). ``name`` is for people, ``seed`` defaults to what its init reads.

    ``logs`` gets ``console-kubevirt.log`` and, if a check fails, what the cluster says of the machine. What the guest
    does not do is a failed result. UsageError for a reference without a digest or a kubeconfig that cannot be used,
    BuildError if the cluster does not start the machine, NetworkError if it does not answer or refuses.
    """
    if reference.digest is None:
        hint = "kmi test on a tag resolves it first; an image on this disk has to be pushed"
        raise UsageError("an image is named by digest", expected="repository@sha256:…", got=reference, hint=hint)
    pinned = str(reference.pinned(reference.digest))
    kind = seed or _SEEDS.get(metadata["init"])
    logs.mkdir(parents=True, exist_ok=True)
    cluster = kubeconfig.find(context, namespace)
    key, nonce, began = ssh.new_key(scratch), secrets.token_hex(16), datetime.now(UTC)
    given = _seed(kind, key.public, nonce, metadata["user"]) if kind else None
    manifest = instance(
        pinned, arch=arch, firmware=_firmware(metadata), seed=given, test=str(uuid.uuid4()), began=began,
        hostname=_HOSTNAME, pull_secret=pull_secret,
    )  # fmt: skip
    with ui.step(name, "test") as step, connected(cluster, patience=SERVER) as api:
        resources = Resources(api)
        version, emulated = _about(cluster, resources, ui, step)
        sweep(resources, began, step.note)
        told = step.detail
        with trial(resources, manifest, logs=logs, limits=limits or Limits(), told=told, warn=ui.warn) as live:
            guest = Guest(
                live=live, console=Console(live.console), patience=patience, key=key, nonce=nonce, kind=kind,
                metadata=metadata, told=lambda line: told(f"{arch}/{RUNNER}: {line[:120]}"),
            )  # fmt: skip
            results = judged(guest, f"{arch}/{RUNNER}", step.note)
            if any(result.outcome is Outcome.FAILED for result in results):
                live.collect()
        report = TestReport(
            subject=reference.digest, arch=arch, results=results, runner=RUNNER, simulated=SIMULATED in version,
            acceleration="kvm" if emulated is False else "", began=began.isoformat(timespec="seconds"),
        )  # fmt: skip
        step.done(summary(report) + (" (simulated)" if report.simulated else ""))
    return report


def _firmware(metadata: Metadata) -> Firmware:
    claimed = metadata["firmware"].split()
    return next((one for one in _PREFERRED if str(one) in claimed), Firmware.BIOS)


def _seed(kind: SeedKind, key: str, nonce: str, user: str) -> Seed:
    """KubeVirt itself adds the metadata; Ignition reads its configuration from a config drive."""
    if kind is SeedKind.IGNITION:
        text = seeds.ignition(hostname=_HOSTNAME, key=key, nonce=nonce, user=user)
        return Seed(drive=Drive.CONFIG_DRIVE, user_data=text)
    drive = Drive.NOCLOUD if kind is SeedKind.NOCLOUD else Drive.CONFIG_DRIVE
    files = seeds.documents(instance="", hostname=_HOSTNAME, key=key, nonce=nonce)
    return Seed(drive=drive, user_data=files["user-data"])


def _about(cluster: Cluster, resources: Resources, ui: Reporter, step: Step) -> tuple[str, bool | None]:
    """Tell which cluster it is; Kubernetes' version, and whether guests are emulated, if that can be known."""
    if not cluster.verify:
        ui.warn(f"{cluster.where} says that any server is to be believed (insecure-skip-tls-verify)")
    version = resources.version()
    step.note(f"context {cluster.name}, namespace {cluster.namespace}, Kubernetes {version}")
    try:
        told, emulated = state.configuration(resources.kubevirts())
    except ApiError as error:
        if error.status == 404:
            raise NetworkError("the cluster has no KubeVirt", got=error.got, where=cluster.server) from error
        told, emulated = f"KubeVirt's version and gates may not be read (status {error.status})", None
    step.note(told)
    return version, emulated
