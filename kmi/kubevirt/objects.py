"""The VirtualMachineInstance of a boot test (API ``kubevirt.io/v1``; pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from kmi.errors import InternalError, UsageError
from kmi.model.platform import Arch, Firmware

LABEL = "kmi.dev/test"
"""Its value is the test's own uuid."""
BEGAN = "kmi.dev/began"
"""An annotation: when kmi made the object (UTC, ISO 8601)."""
MEMORY = "1Gi"
SPARE = "1Gi"
USER_DATA_LIMIT = 2048
"""Bytes that KubeVirt takes in the object itself (pkg/virt-api/webhooks, ``cloudInitUserMaxLen``)."""
_PINNED = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")


class Drive(StrEnum):
    """How the seed is given: KubeVirt's name of the volume."""

    NOCLOUD = "cloudInitNoCloud"
    CONFIG_DRIVE = "cloudInitConfigDrive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    drive: Drive
    user_data: str


def instance(
    reference: str,
    *,
    arch: Arch,
    firmware: Firmware,
    seed: Seed | None,
    test: str,
    began: datetime,
    hostname: str = "kmi-test",
    pull_secret: str | None = None,
) -> dict[str, Any]:
    """``reference`` is ``repository@sha256:…``: what a tag names may change between pull and report (UsageError).
    ``test`` is a uuid. Without ``seed`` there is no provisioning disk."""
    if not _PINNED.fullmatch(reference):
        hint = "`kmi inspect` tells the digest"
        raise UsageError("an image is named by digest", expected="repository@sha256:…", got=reference[:300], hint=hint)
    disk: dict[str, Any] = {"image": reference, "imagePullPolicy": "IfNotPresent"}
    if pull_secret:
        disk["imagePullSecret"] = pull_secret
    volumes: list[dict[str, Any]] = [{"name": "rootdisk", "containerDisk": disk}]
    volumes += [{"name": "seed", **_seed(seed)}] if seed else []
    volumes += [{"name": "spare", "emptyDisk": {"capacity": SPARE}}]
    stamp = began.astimezone(UTC).isoformat(timespec="seconds")
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {"name": f"kmi-test-{test[:13]}", "labels": {LABEL: test}, "annotations": {BEGAN: stamp}},
        "spec": {
            "architecture": str(arch),
            "hostname": hostname,
            "evictionStrategy": "None",
            "terminationGracePeriodSeconds": 0,  # nobody's data is in it
            "domain": {**_firmware(firmware), "memory": {"guest": MEMORY}, "devices": _devices(volumes)},
            "networks": [{"name": "default", "pod": {}}],
            "volumes": volumes,
        },
    }


def _devices(volumes: list[dict[str, Any]]) -> dict[str, Any]:
    disks: list[dict[str, Any]] = [{"name": volume["name"], "disk": {"bus": "virtio"}} for volume in volumes]
    disks[0]["bootOrder"] = 1
    disks[-1]["serial"] = "kmi-spare"
    return {"rng": {}, "disks": disks, "interfaces": [{"name": "default", "model": "virtio", "masquerade": {}}]}


def _seed(seed: Seed) -> Mapping[str, Any]:
    """In the object itself, so that kmi needs no right to any Secret."""
    if len(seed.user_data.encode()) > USER_DATA_LIMIT:
        raise InternalError("the user data is too long", expected=f"at most {USER_DATA_LIMIT} bytes")
    return {str(seed.drive): {"userData": seed.user_data}}


def _firmware(firmware: Firmware) -> dict[str, Any]:
    """``efi`` without more means Secure Boot and then demands SMM (kubevirt pkg/virt-api/webhooks)."""
    match firmware:
        case Firmware.BIOS:
            return {"firmware": {"bootloader": {"bios": {}}}}
        case Firmware.UEFI:
            return {"firmware": {"bootloader": {"efi": {"secureBoot": False}}}}
        case Firmware.SECURE_BOOT:
            features = {"acpi": {}, "smm": {"enabled": True}}
            return {"features": features, "firmware": {"bootloader": {"efi": {"secureBoot": True}}}}
        case Firmware.NATIVE:
            return {}
