"""The instance that is made, as a whole, for each firmware; and what is refused before anything is sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from kmi.errors import InternalError, UsageError
from kmi.kubevirt.objects import USER_DATA_LIMIT, Drive, Seed, instance
from kmi.model.platform import Arch, Firmware

REFERENCE = "registry.example/kmi/debian@sha256:" + "0" * 64
TEST = "123e4567-e89b-12d3-a456-426614174000"
SEED = Seed(drive=Drive.NOCLOUD, user_data="#cloud-config\n{}\n")


def made(**changes: Any) -> dict[str, Any]:
    words: dict[str, Any] = {"arch": Arch.AMD64, "firmware": Firmware.BIOS, "seed": SEED, "test": TEST}
    words |= {"began": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)} | changes
    return instance(words.pop("reference", REFERENCE), **words)


def test_the_whole_of_it() -> None:
    assert made() == {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachineInstance",
        "metadata": {
            "name": "kmi-test-123e4567-e89b",
            "labels": {"kmi.dev/test": TEST},
            "annotations": {"kmi.dev/began": "2026-01-02T03:04:05+00:00"},
        },
        "spec": {
            "architecture": "amd64",
            "hostname": "kmi-test",
            "evictionStrategy": "None",
            "terminationGracePeriodSeconds": 0,
            "domain": {
                "firmware": {"bootloader": {"bios": {}}},
                "memory": {"guest": "1Gi"},
                "devices": {
                    "rng": {},
                    "disks": [
                        {"name": "rootdisk", "disk": {"bus": "virtio"}, "bootOrder": 1},
                        {"name": "seed", "disk": {"bus": "virtio"}},
                        {"name": "spare", "disk": {"bus": "virtio"}, "serial": "kmi-spare"},
                    ],
                    "interfaces": [{"name": "default", "model": "virtio", "masquerade": {}}],
                },
            },
            "networks": [{"name": "default", "pod": {}}],
            "volumes": [
                {"name": "rootdisk", "containerDisk": {"image": REFERENCE, "imagePullPolicy": "IfNotPresent"}},
                {"name": "seed", "cloudInitNoCloud": {"userData": "#cloud-config\n{}\n"}},
                {"name": "spare", "emptyDisk": {"capacity": "1Gi"}},
            ],
        },
    }


@pytest.mark.parametrize(
    ("firmware", "domain"),
    [
        (Firmware.UEFI, {"firmware": {"bootloader": {"efi": {"secureBoot": False}}}}),
        (Firmware.SECURE_BOOT, {"firmware": {"bootloader": {"efi": {"secureBoot": True}}},
                                "features": {"acpi": {}, "smm": {"enabled": True}}}),
        (Firmware.NATIVE, {}),
    ],
)  # fmt: skip
def test_other_firmware(firmware: Firmware, domain: dict[str, Any]) -> None:
    found = made(firmware=firmware)["spec"]["domain"]
    assert {name: found[name] for name in ("firmware", "features") if name in found} == domain


def test_other_seeds_and_a_pull_secret() -> None:
    found = made(seed=Seed(drive=Drive.CONFIG_DRIVE, user_data="{}"), pull_secret="reg")["spec"]
    assert found["volumes"][1] == {"name": "seed", "cloudInitConfigDrive": {"userData": "{}"}}
    assert found["volumes"][0]["containerDisk"]["imagePullSecret"] == "reg"
    bare = made(seed=None)["spec"]
    assert [volume["name"] for volume in bare["volumes"]] == ["rootdisk", "spare"]
    assert bare["domain"]["devices"]["disks"][-1]["serial"] == "kmi-spare"


@pytest.mark.parametrize(
    "reference",
    [
        "registry.example/kmi/debian:12",
        "registry.example/kmi/debian",
        "registry.example/kmi/debian@sha256:abc",
        "registry.example/kmi/debian@sha512:" + "0" * 64,
        "registry.example/kmi/debian@sha256:" + "0" * 65,
        "a b@sha256:" + "0" * 64,
        "@sha256:" + "0" * 64,
        "",
    ],
)
def test_only_a_digest_names_an_image(reference: str) -> None:
    with pytest.raises(UsageError, match="named by digest"):
        made(reference=reference)


def test_user_data_fits_into_the_object() -> None:
    json.dumps(made(seed=Seed(drive=Drive.NOCLOUD, user_data="x" * USER_DATA_LIMIT)))
    with pytest.raises(InternalError, match="too long"):
        made(seed=Seed(drive=Drive.NOCLOUD, user_data="ü" * (USER_DATA_LIMIT // 2 + 1)))
