"""The VirtualMachine YAML, field by field.

Names of fields are those of the API (kubevirt staging/src/kubevirt.io/api/core/v1/{types,schema}.go); no cluster is
asked here.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from kmi.errors import UsageError
from kmi.kubevirt.machine import KEY_PLACEHOLDER, default_name, full, minimal
from kmi.model import metadata

REFERENCE = "registry.example/kmi/debian@sha256:" + "a1" * 32


def record(**changed: str) -> dict[str, str]:
    values = {name.replace("-", "_"): "" for name in metadata.BY_NAME}
    values |= {
        "title": "Debian 12",
        "distro": "debian",
        "release": "12",
        "build": "20250210",
        "architecture": "amd64",
        "firmware": "bios uefi",
        "init": "cloud-init",
        "user": "debian",
        "agent": "installed",
        "instancetype": "u1.small",
        "preference": "debian",
    }
    return metadata.record(**(values | changed))


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def template(text: str) -> dict[str, Any]:
    spec: dict[str, Any] = documents(text)[-1]["spec"]["template"]["spec"]
    return spec


def user_data(text: str) -> Any:
    (seed,) = (volume for volume in template(text)["volumes"] if volume["name"] == "cloudinit")
    data = seed["cloudInitNoCloud"]["userData"]
    assert data.startswith("#cloud-config\n"), "cloud-init reads it as a configuration only with this first line"
    return yaml.safe_load(data)


def test_the_minimal_machine_is_exactly_this() -> None:
    (machine,) = documents(minimal(record(), REFERENCE))
    volumes = machine["spec"]["template"]["spec"].pop("volumes")
    assert machine == {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": "debian-12"},
        "spec": {
            "runStrategy": "Always",
            "instancetype": {"name": "u1.small"},
            "preference": {"name": "debian"},
            "template": {
                "metadata": {"labels": {"kubevirt.io/domain": "debian-12"}},
                "spec": {
                    "domain": {"devices": {"interfaces": [{"name": "default", "masquerade": {}}]}},
                    "networks": [{"name": "default", "pod": {}}],
                },
            },
        },
    }
    assert volumes[0] == {"name": "rootdisk", "containerDisk": {"image": REFERENCE}}
    assert user_data(minimal(record(), REFERENCE)) == {"ssh_authorized_keys": [KEY_PLACEHOLDER]}


def test_the_text_is_for_people_too() -> None:
    text = minimal(record(), REFERENCE)
    assert text.startswith("# Debian 12, amd64, build 20250210. Log in as debian.\n# Put your public key below.\n")
    assert "userData: |\n" in text
    assert list(documents(text)[0]) == ["apiVersion", "kind", "metadata", "spec"]


def test_the_full_machine_has_its_keys_through_the_guest_agent() -> None:
    secret, machine = documents(full(record(), REFERENCE))
    assert (secret["kind"], secret["metadata"]["name"]) == ("Secret", "debian-12-keys")
    assert secret["stringData"] == {"key": KEY_PLACEHOLDER}
    spec = machine["spec"]["template"]["spec"]
    assert spec["accessCredentials"] == [
        {
            "sshPublicKey": {
                "source": {"secret": {"secretName": "debian-12-keys"}},
                "propagationMethod": {"qemuGuestAgent": {"users": ["debian"]}},
            }
        }
    ]
    assert spec["architecture"] == "amd64"
    assert spec["domain"]["devices"]["rng"] == {}
    assert [disk["name"] for disk in spec["domain"]["devices"]["disks"]] == ["rootdisk", "cloudinit"]
    assert "cpu" not in spec["domain"] and "memory" not in spec["domain"], "the instance type's; both is a conflict"
    assert "ssh_authorized_keys" not in user_data(full(record(), REFERENCE)), "the agent owns the file"


@pytest.mark.parametrize(
    ("firmware", "bootloader"),
    [
        ("bios", None),
        ("bios uefi", None),
        ("uefi", {"efi": {"secureBoot": False}}),
        ("uefi secure-boot", {"efi": {"secureBoot": False}}),
        ("native", None),
    ],
)
def test_firmware_is_the_images(firmware: str, bootloader: dict[str, Any] | None) -> None:
    domain = template(full(record(firmware=firmware), REFERENCE))["domain"]
    assert domain.get("firmware", {}).get("bootloader") == bootloader
    assert "features" not in domain, "SMM is for Secure Boot only"


def test_arm64_says_so() -> None:
    spec = template(full(record(architecture="arm64", firmware="uefi"), REFERENCE))
    assert spec["architecture"] == "arm64"
    assert "machine" not in spec["domain"], "KubeVirt chooses virt there, q35 would be refused"


def test_without_an_agent_keys_come_by_cloud_init() -> None:
    (machine,) = documents(text := full(record(agent="absent"), REFERENCE))
    assert "accessCredentials" not in machine["spec"]["template"]["spec"]
    assert "readinessProbe" not in machine["spec"]["template"]["spec"]
    assert user_data(text) == {"ssh_authorized_keys": [KEY_PLACEHOLDER]}


def test_without_cloud_init_there_is_no_seed() -> None:
    for form in (minimal, full):
        spec = template(form(record(init="none"), REFERENCE))
        assert [volume["name"] for volume in spec["volumes"]] == ["rootdisk"]
        assert [disk["name"] for disk in spec["domain"]["devices"].get("disks", [])] in ([], ["rootdisk"])
        for init, said in (("none", "on its console"), ("ignition", "cloudInitConfigDrive")):
            assert said in form(record(init=init, agent="absent"), REFERENCE).splitlines()[1]


def test_without_a_preference_none_is_named() -> None:
    (machine,) = documents(minimal(record(preference="", instancetype=""), REFERENCE))
    assert {"preference", "instancetype"}.isdisjoint(machine["spec"])


@pytest.mark.parametrize("form", [minimal, full])
def test_a_tag_is_not_taken(form: Any) -> None:
    with pytest.raises(UsageError, match="named by digest"):
        form(record(), "registry.example/kmi/debian:12")


@pytest.mark.parametrize("name", ["", "Debian", "a_b", "-a", "a-", "a.b", "x" * 64, "a\nb"])
def test_a_name_that_kubernetes_refuses_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="Kubernetes"):
        minimal(record(), REFERENCE, name)


def test_a_name_is_used_everywhere() -> None:
    secret, machine = documents(full(record(), REFERENCE, "web-1"))
    assert (secret["metadata"]["name"], machine["metadata"]["name"]) == ("web-1-keys", "web-1")


@pytest.mark.parametrize(
    ("distro", "release", "name"),
    [("debian", "12", "debian-12"), ("alpine", "3.24.1", "alpine-3-24-1"), ("x", "_", "x"), ("a" * 80, "1", "a" * 63)],
)
def test_the_default_name_is_one_that_kubernetes_takes(distro: str, release: str, name: str) -> None:
    assert default_name(record(distro=distro, release=release)) == name
    minimal(record(distro=distro, release=release), REFERENCE, name)


def test_hostile_metadata_stays_a_value() -> None:
    text = minimal(record(title="x: y # {z}", user="a: b"), REFERENCE)
    assert documents(text)[0]["metadata"] == {"name": "debian-12"}
