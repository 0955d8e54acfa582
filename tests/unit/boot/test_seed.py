import json
import subprocess

import yaml

from kmi.boot import seed

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO kmi"


def test_the_documents_are_what_cloud_init_reads():
    files = seed.documents(instance="i-1", hostname="kmi-test", key=KEY)
    assert set(files) == {"meta-data", "user-data"}
    assert json.loads(files["meta-data"]) == {"instance-id": "i-1", "local-hostname": "kmi-test"}
    assert files["user-data"].startswith("#cloud-config\n")
    user_data = yaml.safe_load(files["user-data"])
    assert user_data == {"hostname": "kmi-test", "ssh_authorized_keys": [KEY], "ssh_pwauth": False}


def test_network_config_is_there_only_when_given():
    assert (
        seed.documents(instance="i", hostname="h", key=KEY, network="version: 2\n")["network-config"] == "version: 2\n"
    )


def test_the_disk_is_an_iso_with_the_label_and_names_that_cloud_init_looks_for(tmp_path):
    files = seed.documents(instance="i-1", hostname="kmi-test", key=KEY, network="version: 2\n")
    iso = tmp_path / "seed.iso"
    seed.nocloud(files, tmp_path / "seed", iso)
    assert iso.read_bytes()[0x8028 : 0x8028 + 6] == b"cidata"  # ECMA-119, 8.4.7: volume identifier
    argv = ["xorriso", "-osirrox", "on", "-indev", str(iso), "-extract", "/", str(tmp_path / "out")]
    subprocess.run(argv, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == files
