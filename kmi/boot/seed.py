"""The provisioning disk as KubeVirt makes it (pkg/cloud-init/cloud-init.go: NoCloud and ConfigDrive)."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote

from kmi.host.run import run

WRITTEN = "/etc/kmi-test"
"""The file that provisioning is asked to write. It holds the nonce and a line feed."""

_MODE = 0o644


class SeedKind(StrEnum):
    """What a guest is provisioned with: cloud-init from either of KubeVirt's disks, or Ignition, whose configuration
    KubeVirt's users put in a config drive's user data."""

    NOCLOUD = "nocloud"
    CONFIGDRIVE = "configdrive"
    IGNITION = "ignition"


def disk(
    kind: SeedKind, *, instance: str, hostname: str, key: str, nonce: str, user: str, folder: Path, target: Path
) -> None:
    """Make the ISO image ``target``, by way of ``folder``, which must not exist. ``user`` is who gets the key with
    Ignition; cloud-init gives it to the user that the image names its default. BuildError if xorrisofs fails."""
    cloud = documents(instance=instance, hostname=hostname, key=key, nonce=nonce)
    match kind:
        case SeedKind.NOCLOUD:
            nocloud(cloud, folder, target)
        case SeedKind.CONFIGDRIVE:
            configdrive(cloud["user-data"], instance=instance, hostname=hostname, folder=folder, target=target)
        case SeedKind.IGNITION:
            user_data = ignition(hostname=hostname, key=key, nonce=nonce, user=user)
            configdrive(user_data, instance=instance, hostname=hostname, folder=folder, target=target)


def documents(*, instance: str, hostname: str, key: str, nonce: str, network: str = "") -> dict[str, str]:
    """The files of a NoCloud seed by name. ``key`` is one OpenSSH public key line; ``network`` is network-config in
    cloud-init's own words and left out when empty, as KubeVirt does (cloud-init then asks DHCP on the first NIC).

    What an image chose itself, such as whether passwords may log in, is not said: that is what is tested."""
    written = {"path": WRITTEN, "content": f"{nonce}\n", "permissions": f"0{_MODE:o}"}
    user_data = {"hostname": hostname, "ssh_authorized_keys": [key], "write_files": [written]}
    files = {
        "meta-data": json.dumps({"instance-id": instance, "local-hostname": hostname}),
        "user-data": "#cloud-config\n" + json.dumps(user_data, indent=2) + "\n",  # JSON is YAML
    }
    return {**files, "network-config": network} if network else files


def ignition(*, hostname: str, key: str, nonce: str, user: str) -> str:
    """A configuration of Ignition's specification 3.3.0, which Fedora CoreOS, RHCOS and Flatcar read."""
    files = [_file("/etc/hostname", hostname), _file(WRITTEN, nonce)]
    config = {
        "ignition": {"version": "3.3.0"},
        "passwd": {"users": [{"name": user, "sshAuthorizedKeys": [key]}]},
        "storage": {"files": files},
    }
    return json.dumps(config, indent=2) + "\n"


def nocloud(files: dict[str, str], folder: Path, target: Path) -> None:
    """Write ``files`` below ``folder`` (which must not exist) and make the ISO image ``target`` of it."""
    _iso("cidata", files, folder, target)


def configdrive(user_data: str, *, instance: str, hostname: str, folder: Path, target: Path) -> None:
    """The same in OpenStack's layout. KubeVirt names the machine with ``hostname``, and gives its UUID as ``uuid``,
    which cloud-init takes for the instance."""
    meta_data = {"instance_id": instance, "hostname": hostname, "uuid": instance}
    files = {"meta_data.json": json.dumps(meta_data), "user_data": user_data}
    _iso("config-2", {f"openstack/latest/{name}": text for name, text in files.items()}, folder, target)


def _iso(label: str, files: dict[str, str], folder: Path, target: Path) -> None:
    folder.mkdir()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    iso = ("-volid", label, "-joliet", "-rock", "-partition_cyl_align", "on")
    run(["xorrisofs", "-quiet", "-output", target, *iso, folder])


def _file(path: str, text: str) -> dict[str, object]:
    """One entry of ``storage.files``; its contents as a data URL (RFC 2397)."""
    url = f"data:,{quote(text, safe='')}%0A"
    return {"path": path, "mode": _MODE, "overwrite": True, "contents": {"source": url}}
