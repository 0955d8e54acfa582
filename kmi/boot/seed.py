"""The provisioning disk as KubeVirt makes it (pkg/cloud-init/cloud-init.go: NoCloud)."""

from __future__ import annotations

import json
from pathlib import Path

from kmi.host.run import run


def documents(*, instance: str, hostname: str, key: str, network: str = "") -> dict[str, str]:
    """The files of a NoCloud seed by name. ``key`` is one OpenSSH public key line; ``network`` is network-config in
    cloud-init's own words and left out when empty, as KubeVirt does (cloud-init then asks DHCP on the first NIC)."""
    user_data = {"hostname": hostname, "ssh_authorized_keys": [key], "ssh_pwauth": False}
    files = {
        "meta-data": json.dumps({"instance-id": instance, "local-hostname": hostname}),
        "user-data": "#cloud-config\n" + json.dumps(user_data, indent=2) + "\n",  # JSON is YAML
    }
    return {**files, "network-config": network} if network else files


def nocloud(files: dict[str, str], folder: Path, target: Path) -> None:
    """Write ``files`` below ``folder`` (which must not exist) and make the ISO image ``target`` of it."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    iso = ("-volid", "cidata", "-joliet", "-rock", "-partition_cyl_align", "on")
    run(["xorrisofs", "-quiet", "-output", target, *iso, folder])
