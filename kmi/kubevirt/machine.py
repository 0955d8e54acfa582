"""VirtualMachine YAML for an image, from what the image says about itself (API ``kubevirt.io/v1``; pure).

Two forms: a minimal one that leaves sizes and devices to an instance type and a preference (KubeVirt deploys the
common ones since v1.4), and a full one that shows the knobs. Both name the image by digest.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from kmi.errors import UsageError
from kmi.model.metadata import Metadata
from kmi.model.platform import Firmware

KEY_PLACEHOLDER = "ssh-ed25519 REPLACE-THIS-WITH-YOUR-PUBLIC-KEY"
_ADVICE = {
    "cloud-init": "Put your public key below.",
    "ignition": "Its Ignition configuration is the userData of a cloudInitConfigDrive volume: add yours.",
    "none": "It reads no configuration from KubeVirt: set it up on its console.",
}
_NAME_LIMIT = 63
_DOMAIN_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def default_name(metadata: Metadata) -> str:
    """A name that Kubernetes takes (RFC 1123 label): ``debian-12``."""
    words = f"{metadata['distro']}-{metadata['release']}".lower()
    return re.sub(r"[^a-z0-9-]+", "-", words).strip("-")[:_NAME_LIMIT].strip("-") or "kmi"


def minimal(metadata: Metadata, reference: str, name: str | None = None) -> str:
    """The least that runs: instance type, preference, a masqueraded pod network, and cloud-init with a key.

    ``reference`` is ``repository@sha256:…``. UsageError if it has no digest, or ``name`` is no RFC 1123 label.
    """
    name = _named(metadata, name)
    devices: dict[str, Any] = {"interfaces": [_interface()]}
    spec = {
        "domain": {"devices": devices},
        "networks": [_network()],
        "volumes": [_root(reference), *_seed(metadata, {"ssh_authorized_keys": [KEY_PLACEHOLDER]})],
    }
    return _comment(metadata, _ADVICE.get(metadata["init"], "")) + _dump(_machine(metadata, name, spec))


def full(metadata: Metadata, reference: str, name: str | None = None) -> str:
    """The long form: keys through the guest agent from a Secret, entropy device, architecture and firmware of the
    image, a readiness probe. Two documents; arguments and errors as ``minimal``."""
    name = _named(metadata, name)
    secret = f"{name}-keys"
    spec: dict[str, Any] = {
        "architecture": metadata["architecture"],
        "terminationGracePeriodSeconds": 180,
        "domain": {**_firmware(metadata), "devices": _devices(metadata)},
        "networks": [_network()],
    }
    if _has_agent(metadata):
        spec["accessCredentials"] = [_credentials(secret, metadata["user"])]
        spec["readinessProbe"] = {"guestAgentPing": {}, "initialDelaySeconds": 30, "periodSeconds": 10}
    # The agent owns authorized_keys: keys given to cloud-init would be lost when it writes the file.
    seed = {"ssh_pwauth": False} if _has_agent(metadata) else {"ssh_authorized_keys": [KEY_PLACEHOLDER]}
    spec["volumes"] = [_root(reference), *_seed(metadata, seed)]
    machine = _dump(_machine(metadata, name, spec))
    if not _has_agent(metadata):
        return _comment(metadata, _ADVICE.get(metadata["init"], "")) + machine
    keys = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": secret},
        "stringData": {"key": KEY_PLACEHOLDER},
    }
    return _comment(metadata, "Put your public key into the Secret.") + _dump(keys) + "---\n" + machine


def _machine(metadata: Metadata, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Without an instance type or a preference in the metadata the matcher is left out."""
    matchers = {kind: {"name": metadata[kind]} for kind in ("instancetype", "preference") if metadata[kind]}
    template = {"metadata": {"labels": {"kubevirt.io/domain": name}}, "spec": spec}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {"runStrategy": "Always", **matchers, "template": template},
    }


def _devices(metadata: Metadata) -> dict[str, Any]:
    disks: list[dict[str, Any]] = [{"name": "rootdisk", "bootOrder": 1, "disk": {"bus": "virtio"}}]
    disks += [{"name": volume["name"], "disk": {"bus": "virtio"}} for volume in _seed(metadata, {})]
    return {"rng": {}, "disks": disks, "interfaces": [{**_interface(), "model": "virtio"}]}


def _firmware(metadata: Metadata) -> dict[str, Any]:
    """BIOS is KubeVirt's default. ``efi`` without more means Secure Boot and then demands SMM
    (kubevirt pkg/virt-api/webhooks), so an image for UEFI says false."""
    if {Firmware.BIOS, Firmware.NATIVE} & set(metadata["firmware"].replace(",", " ").split()):
        return {}
    return {"firmware": {"bootloader": {"efi": {"secureBoot": False}}}}


def _credentials(secret: str, user: str) -> dict[str, Any]:
    method = {"qemuGuestAgent": {"users": [user]}}
    return {"sshPublicKey": {"source": {"secret": {"secretName": secret}}, "propagationMethod": method}}


def _has_agent(metadata: Metadata) -> bool:
    return metadata["agent"] not in ("", "absent") and bool(metadata["user"])


def _interface() -> dict[str, Any]:
    """Said explicitly: without it KubeVirt binds the pod network by bridge, which cannot be migrated."""
    return {"name": "default", "masquerade": {}}


def _network() -> dict[str, Any]:
    return {"name": "default", "pod": {}}


def _root(reference: str) -> dict[str, Any]:
    if "@sha256:" not in reference:
        raise UsageError("an image is named by digest", expected="repository@sha256:…", got=reference)
    return {"name": "rootdisk", "containerDisk": {"image": reference}}


def _seed(metadata: Metadata, user_data: dict[str, Any]) -> list[dict[str, Any]]:
    """The cloud-init volume, for images that read one."""
    if metadata["init"] != "cloud-init":
        return []
    return [{"name": "cloudinit", "cloudInitNoCloud": {"userData": "#cloud-config\n" + _dump(user_data)}}]


def _named(metadata: Metadata, name: str | None) -> str:
    if name is None:
        return default_name(metadata)
    return checked_name(name)


def checked_name(name: str) -> str:
    """The name itself. UsageError if it is no RFC 1123 label."""
    if len(name) > _NAME_LIMIT or not _DOMAIN_LABEL.fullmatch(name):
        raise UsageError(
            "Kubernetes does not take that name",
            expected=f"lower-case letters, digits and dashes, at most {_NAME_LIMIT}",
            got=name,
        )
    return name


def _comment(metadata: Metadata, advice: str) -> str:
    login = f" Log in as {metadata['user']}." if metadata["user"] else ""
    return f"# {metadata['title']}, {metadata['architecture']}, build {metadata['build']}.{login}\n# {advice}\n"


class _Dumper(yaml.SafeDumper):
    """Text of several lines as a block."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _dump(value: dict[str, Any]) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
