"""The containerDisk contract as a table of rules, each with the source that it comes from.

An image that holds to all of them works as a KubeVirt containerDisk (bind mount and ImageVolume), as a CDI registry
source (pod and node pull), and passes the registries that it is likely to meet.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kmi.model.digest import Digest
from kmi.oci.facts import Facts, Member, gather
from kmi.oci.layer import QEMU
from kmi.oci.layout import CONFIG, LAYER, MANIFEST, MAX_MANIFEST, Descriptor, Layout

GHCR_LAYER = 10 * 1000**3
QUAY_LAYER = 20 * 1024**3
HUB_LAYER = 10 * 1000**3
_OCI = "org.opencontainers.image."
_ENV = "INSTANCETYPE_KUBEVIRT_IO_DEFAULT_"
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_FOREIGN = {b"KDMV": "vmdk", b"# Disk D": "vmdk", b"<<< ": "vdi", b"vhdxfile": "vhdx", b"conectix": "vpc",
            b"\x1f\x8b": "gzip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2"}  # fmt: skip
_QCOW2 = b"QFI\xfb"
_EXTERNAL_DATA = 1 << 2


class Severity(StrEnum):
    """What a finding means: nothing, a limit somewhere, or an image that does not work."""

    OK = "ok"
    WARNING = "warning"
    VIOLATION = "violation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """``says`` is the rule in one sentence, ``source`` where it comes from, ``otherwise`` what breaking it means.
    ``check`` gives the problem, or None."""

    id: str
    says: str
    source: str
    otherwise: Severity
    check: Callable[[Facts], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule on one image. ``detail`` is the problem, or what the rule says where there is none."""

    rule: Rule
    outcome: Severity
    detail: str


def lint(layout: Path, image: Digest, child: Descriptor | None = None) -> tuple[Finding, ...]:
    """Every rule on the image manifest ``image`` in an OCI layout; ``child`` is its descriptor in an index, if it is
    in one. Raises VerificationError for what cannot be read as an image at all."""
    descriptor = child or Descriptor(media_type=MANIFEST, digest=image, size=0)
    return judge(gather(Layout.open(layout), descriptor))


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Every rule on the facts, in the order of the table."""
    findings = []
    for rule in RULES:
        problem = rule.check(facts)
        outcome = rule.otherwise if problem else Severity.OK
        findings.append(Finding(rule=rule, outcome=outcome, detail=problem or rule.says))
    return tuple(findings)


def _digests(facts: Facts) -> str | None:
    wrong = [layer.digest for layer in facts.layers if layer.digest != str(layer.descriptor.digest)]
    return f"a layer is really {wrong[0]}" if wrong else None


def _diff_ids(facts: Facts) -> str | None:
    told = (facts.config.get("rootfs") or {}).get("diff_ids")
    found = [layer.diff_id for layer in facts.layers]
    return None if told == found else f"the config says {told}, the layers are {found}"


def _platform(facts: Facts) -> str | None:
    if facts.child is None:
        return None
    told, real = (facts.child.os, facts.child.architecture), (facts.config.get("os"), facts.config.get("architecture"))
    return None if told == real else f"the index says {told}, the config {real}"


def _architecture(facts: Facts) -> str | None:
    arch, system = facts.config.get("architecture"), facts.config.get("os")
    return None if arch and system == "linux" else f"the config says {system}/{arch}"


def _layer_kinds(facts: Facts) -> str | None:
    kinds = (LAYER, "application/vnd.docker.image.rootfs.diff.tar")
    odd = [k for k in (layer.descriptor.media_type for layer in facts.layers) if not k.startswith(kinds)]
    return f"a layer is {odd[0]}" if odd else None


def _oci_types(facts: Facts) -> str | None:
    config = Descriptor.of_json(facts.manifest.get("config")).media_type
    odd = [] if facts.manifest.get("mediaType") == MANIFEST else [str(facts.manifest.get("mediaType"))]
    odd += [] if config == CONFIG else [config]
    odd += [t for t in (layer.descriptor.media_type for layer in facts.layers) if not t.startswith(LAYER)]
    return f"{odd[0]} is not an OCI media type" if odd else None


def _one_disk(facts: Facts) -> str | None:
    names = sorted({disk.path for disk in facts.disks})
    return None if len(names) == 1 else f"disk/ holds {len(names)} files: {', '.join(names[:5])}".rstrip(": ")


def _no_folder(facts: Facts) -> str | None:
    names = [m.path for m in facts.members if m.kind == "directory" and m.path.startswith("disk/")]
    return f"disk/ holds the folder {names[0]}" if names else None


def _regular(facts: Facts) -> str | None:
    odd = [disk for disk in facts.disks if disk.kind != "file"]
    return f"{odd[0].path} is {odd[0].kind}" if odd else None


def _relative(facts: Facts) -> str | None:
    odd = [member.name for member in facts.members if member.name.startswith("/") or ".." in member.name.split("/")]
    return f"a member is named {odd[0]}" if odd else None


def _prefix(facts: Facts) -> str | None:
    odd = [m.path for m in facts.members if m.path != "disk" and not m.path.startswith("disk/")]
    odd += [m.path for m in facts.members if m.path == "disk" and m.kind != "directory"]
    return f"CDI may take {odd[0]} for the disk" if odd else None


def _alone(facts: Facts) -> str | None:
    others = sum(layer.others for layer in facts.layers if any(m.path.startswith("disk/") for m in layer.members))
    return f"the disk's layer holds {others} other members" if others else None


def _may(member: Member, bit: int) -> bool:
    """Whether uid and gid 107 has the permission ``bit`` (4 read, 1 enter)."""
    shift = 6 if member.uid == QEMU else 3 if member.gid == QEMU else 0
    return bool(member.mode >> shift & bit)


def _readable(facts: Facts) -> str | None:
    shut = [m for m in facts.members if m.path == "disk" and not _may(m, 1)]
    shut += [disk for disk in facts.disks if not _may(disk, 4)]
    return f"{shut[0].path} is {shut[0].mode:04o} {shut[0].uid}:{shut[0].gid}" if shut else None


def _owner(facts: Facts) -> str | None:
    wanted = {m.name: (m, 0o555) for m in facts.members if m.path == "disk"}
    wanted.update({disk.name: (disk, 0o444) for disk in facts.disks})
    odd = [m for m, mode in wanted.values() if (m.mode, m.uid, m.gid) != (mode, QEMU, QEMU)]
    if not any(m.path == "disk" for m in facts.members):
        return "the layer has no member disk/, so the runtime chooses its mode"
    return f"{odd[0].path} is {odd[0].mode:04o} {odd[0].uid}:{odd[0].gid}" if odd else None


def _format(facts: Facts) -> str | None:
    for disk in facts.disks:
        for magic, name in _FOREIGN.items():
            if disk.head.startswith(magic):
                return f"{disk.path} is {name}"
        if disk.head.startswith(_QCOW2) and (len(disk.head) < 72 or disk.head[4:8] not in (b"\0\0\0\2", b"\0\0\0\3")):
            return f"{disk.path} has a broken qcow2 header"
    return None


def _backing(facts: Facts) -> str | None:
    """qcow2 header, bytes 8 to 15: backing_file_offset (QEMU docs/interop/qcow2.txt)."""
    linked = [d.path for d in facts.disks if d.head.startswith(_QCOW2) and any(d.head[8:16])]
    return f"{linked[0]} has a backing file" if linked else None


def _external(facts: Facts) -> str | None:
    """qcow2 version 3 header, bytes 72 to 79: incompatible features; bit 2 is an external data file."""
    heads = [d for d in facts.disks if d.head.startswith(_QCOW2 + b"\0\0\0\3") and len(d.head) >= 80]
    apart = [d.path for d in heads if struct.unpack(">Q", d.head[72:80])[0] & _EXTERNAL_DATA]
    return f"{apart[0]} keeps its data in another file" if apart else None


def _bootc(facts: Facts) -> str | None:
    labels = facts.settings.get("Labels") or {}
    found = [name for name in ("containers.bootc", "ostree.bootable") if labels.get(name)]
    return f"the label {found[0]} is set" if found else None


def _entrypoint(facts: Facts) -> str | None:
    entry = facts.settings.get("Entrypoint") or []
    return None if entry in ([], ["no-entrypoint"]) else f"the entrypoint is {entry[0]}: fine for KubeVirt, not crun-vm"


def _env(facts: Facts) -> dict[str, str]:
    pairs = (str(pair).partition("=") for pair in facts.settings.get("Env") or ())
    return {name: value for name, _, value in pairs}


def _defaults(facts: Facts) -> str | None:
    missing = [n for n in (_ENV + "INSTANCETYPE", _ENV + "PREFERENCE") if n not in _env(facts)]
    return f"{missing[0]} is not set" if missing else None


def _default_values(facts: Facts) -> str | None:
    odd = [f"{n}={v}" for n, v in _env(facts).items() if "KUBEVIRT_IO_" in n and not _LABEL_VALUE.fullmatch(v)]
    return f"{odd[0]} cannot become a label" if odd else None


def _largest(limit: int) -> Callable[[Facts], str | None]:
    def check(facts: Facts) -> str | None:
        size = max((layer.descriptor.size for layer in facts.layers), default=0)
        return f"a layer has {size} bytes, the limit is {limit}" if size > limit else None

    return check


def _told(key: str) -> Callable[[Facts], str | None]:
    return lambda facts: None if facts.labels.get(key) else f"{key} is not set"


def _rule(
    name: str, says: str, source: str, check: Callable[[Facts], str | None], otherwise: Severity = Severity.VIOLATION
) -> Rule:
    return Rule(id=name, says=says, source=source, otherwise=otherwise, check=check)


_WARN = Severity.WARNING
RULES: tuple[Rule, ...] = (
    _rule("digests", "every layer matches its digest", "OCI image-spec descriptor.md, Digests", _digests),
    _rule("diff-ids", "every layer matches its diff ID", "OCI image-spec config.md, rootfs", _diff_ids),
    _rule("index", "an index lists it with its platform", "OCI image-spec image-index.md",
          lambda facts: None if facts.child else "the image stands alone, without an index", _WARN),
    _rule("platform", "the index's platform is the config's",
          "CDI pkg/importer/registry-datasource.go, platform.architecture", _platform),
    _rule("architecture", "the config names linux and an architecture", "OCI image-spec config.md", _architecture),
    _rule("layer-kind", "every layer is a file system layer", "OCI image-spec layer.md", _layer_kinds),
    _rule("media-types", "all media types are OCI's", "OCI image-spec media-types.md", _oci_types, _WARN),
    _rule("one-disk", "disk/ holds exactly one file", "KubeVirt pkg/container-disk/container-disk.go, GetImage",
          _one_disk),
    _rule("no-folder", "disk/ holds no folder", "KubeVirt pkg/container-disk/container-disk.go, GetImage", _no_folder),
    _rule("regular", "the disk is a regular file", "KubeVirt pkg/virt-launcher/virtwrap/manager.go,"
          " findDiskFileInImageVolume", _regular),
    _rule("relative", "member names are relative and climb nowhere",
          "CDI pkg/importer/transport.go, prefix disk", _relative),
    _rule("prefix", "no other path begins with disk", "CDI pkg/importer/transport.go, prefix disk", _prefix),
    _rule("alone", "the disk's layer holds nothing else", "kmi: the layer changes only with the disk", _alone, _WARN),
    _rule("readable", "uid 107 can read the disk", "KubeVirt user guide, containerDisk; CDI node pull", _readable),
    _rule("owner", "disk/ is 0555 and the disk 0444, both 107:107",
          "KubeVirt cmd/virt-launcher/qemu.conf; CDI cmd/cdi-image-server", _owner, _WARN),
    _rule("format", "the disk is qcow2 or raw", "KubeVirt pkg/os/disk/validation.go, VerifyImage", _format),
    _rule("backing-file", "the disk has no backing file", "KubeVirt pkg/os/disk/validation.go, VerifyImage", _backing),
    _rule("data-file", "the disk has no external data file", "QEMU docs/interop/qcow2.txt", _external),
    _rule("bootc", "no label marks a bootable container", "CDI ErrBootcImageDetected", _bootc),
    _rule("entrypoint", "no entrypoint, or no-entrypoint", "crun-vm src/commands/create/custom_opts.rs", _entrypoint,
          _WARN),
    _rule("defaults", "instance type and preference are in the environment", "CDI envsToLabels", _defaults, _WARN),
    _rule("default-values", "those values can be labels", "Kubernetes labels, syntax; CDI envsToLabels",
          _default_values),
    _rule("size-ghcr", "no layer exceeds GHCR's 10 GB", "GitHub docs, Working with the Container registry",
          _largest(GHCR_LAYER), _WARN),
    _rule("size-quay", "no layer exceeds Quay's 20 GiB", "Quay config.py, MAXIMUM_LAYER_SIZE", _largest(QUAY_LAYER),
          _WARN),
    _rule("size-hub", "no layer exceeds 10 GB, where Docker Hub was seen to fail (it publishes no limit)",
          "docker/hub-feedback issue 704", _largest(HUB_LAYER), _WARN),
    _rule("manifest-size", "the manifest is below 4 MiB", "OCI distribution-spec, Pushing Manifests",
          lambda facts: None if facts.manifest_size < MAX_MANIFEST else f"it has {facts.manifest_size} bytes", _WARN),
    _rule("created", "the config says when it was created", "OCI image-spec config.md, created",
          lambda facts: None if facts.config.get("created") else "created is not set", _WARN),
    _rule("base", "the base's digest is recorded", "OCI image-spec annotations.md, base.digest",
          _told(_OCI + "base.digest"), _WARN),
    _rule("licence", "the licence is recorded", "OCI image-spec annotations.md, licenses", _told(_OCI + "licenses"),
          _WARN),
    _rule("source", "the source is recorded", "OCI image-spec annotations.md, source", _told(_OCI + "source"), _WARN),
)  # fmt: skip
