import json
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from kmi.boot import seed
from kmi.boot.seed import SeedKind

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO kmi"
WHO = {"instance": "i-1", "hostname": "kmi-test", "key": KEY, "nonce": "n0nce"}


def made(kind: SeedKind, folder: Path) -> tuple[str, dict[str, str]]:
    """The label of the disk, and its files by path."""
    iso = folder / "seed.iso"
    seed.disk(kind, **WHO, user="core", folder=folder / "seed", target=iso)
    argv = ["xorriso", "-osirrox", "on", "-indev", str(iso), "-extract", "/", str(folder / "out")]
    subprocess.run(argv, check=True, capture_output=True)
    label = iso.read_bytes()[0x8028 : 0x8028 + 32].decode().rstrip()  # ECMA-119, 8.4.7: volume identifier
    files = (path for path in (folder / "out").rglob("*") if path.is_file())
    return label, {str(path.relative_to(folder / "out")): path.read_text() for path in files}


def test_the_documents_are_what_cloud_init_reads():
    files = seed.documents(**WHO)
    assert set(files) == {"meta-data", "user-data"}
    assert json.loads(files["meta-data"]) == {"instance-id": "i-1", "local-hostname": "kmi-test"}
    assert files["user-data"].startswith("#cloud-config\n")
    assert yaml.safe_load(files["user-data"]) == {
        "hostname": "kmi-test",
        "ssh_authorized_keys": [KEY],
        "write_files": [{"path": "/etc/kmi-test", "content": "n0nce\n", "permissions": "0644"}],
    }


def test_what_an_image_chose_about_logins_is_not_overruled():
    user_data = yaml.safe_load(seed.documents(**WHO)["user-data"])
    assert not {"ssh_pwauth", "disable_root", "password", "chpasswd", "users"} & set(user_data)


def test_network_config_is_there_only_when_given():
    assert seed.documents(**WHO, network="version: 2\n")["network-config"] == "version: 2\n"


def test_a_nocloud_disk_has_the_label_and_names_that_cloud_init_looks_for(tmp_path):
    label, files = made(SeedKind.NOCLOUD, tmp_path)
    assert label == "cidata"
    assert files == seed.documents(**WHO)


def test_network_config_gets_onto_the_disk(tmp_path):
    seed.nocloud(seed.documents(**WHO, network="version: 2\n"), tmp_path / "seed", tmp_path / "seed.iso")
    assert (tmp_path / "seed/network-config").read_text() == "version: 2\n"
    assert b"network-config" in (tmp_path / "seed.iso").read_bytes()


def test_a_config_drive_has_openstacks_layout(tmp_path):
    label, files = made(SeedKind.CONFIGDRIVE, tmp_path)
    assert label == "config-2"
    assert set(files) == {"openstack/latest/meta_data.json", "openstack/latest/user_data"}
    told = json.loads(files["openstack/latest/meta_data.json"])
    assert told == {"instance_id": "i-1", "uuid": "i-1", "hostname": "kmi-test"}
    assert files["openstack/latest/user_data"] == seed.documents(**WHO)["user-data"]


def test_ignition_comes_as_a_config_drives_user_data(tmp_path):
    label, files = made(SeedKind.IGNITION, tmp_path)
    assert label == "config-2"
    assert files["openstack/latest/user_data"] == seed.ignition(
        hostname="kmi-test", key=KEY, nonce="n0nce", user="core"
    )


@pytest.mark.parametrize("nonce", ["n0nce", "50% of, #1 ü"])
def test_ignition_says_the_same_as_cloud_init(nonce):
    config = json.loads(seed.ignition(hostname="kmi-test", key=KEY, nonce=nonce, user="core"))
    assert config["ignition"] == {"version": "3.3.0"}
    assert config["passwd"] == {"users": [{"name": "core", "sshAuthorizedKeys": [KEY]}]}
    files = {file["path"]: file for file in config["storage"]["files"]}
    assert set(files) == {"/etc/hostname", seed.WRITTEN}
    assert all((file["mode"], file["overwrite"]) == (0o644, True) for file in files.values())
    for path, text in (("/etc/hostname", "kmi-test\n"), (seed.WRITTEN, f"{nonce}\n")):
        scheme, _, data = files[path]["contents"]["source"].partition(",")
        assert (scheme, unquote(data)) == ("data:", text)
        assert data.isascii() and not set(data) & set(" #,\n")
