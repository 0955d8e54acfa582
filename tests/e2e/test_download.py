"""The download path: the bootstrapped disk, served as the publisher would serve it, signed with a throw-away key."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import ROOT, Kmi, Run

PREFIX = "https://cloud.debian.org/"
NAME = "debian-12-genericcloud-amd64.qcow2"
FOLDER = "images/cloud/bookworm/latest"
PACKAGES = ["qemu-guest-agent", "tmux"]


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """A local web server that holds the disk; ``catalogue`` pins the key that signed its checksums."""

    root: Path
    port: int
    catalogue: Path
    fingerprint: str

    @property
    def mirrors(self) -> str:
        return f"{PREFIX}=http://127.0.0.1:{self.port}/"

    def requests(self) -> list[str]:
        return (self.root / "access.log").read_text().splitlines()

    def limit(self, rate: str) -> None:
        """Bytes each second for each connection; ``0`` for as fast as it goes."""
        (self.root / "rate.conf").write_text(f"limit_rate {rate};\n")
        subprocess.run(self._nginx("-s", "reload"), check=True, capture_output=True)
        time.sleep(0.5)

    def _nginx(self, *words: str) -> list[str]:
        return ["nginx", "-p", str(self.root), "-c", str(self.root / "nginx.conf"), *words]

    def start(self) -> subprocess.Popen[bytes]:
        (self.root / "rate.conf").write_text("limit_rate 0;\n")
        (self.root / "nginx.conf").write_text(f"""
            daemon off; pid {self.root}/nginx.pid; error_log {self.root}/error.log; user root; worker_processes 1;
            events {{}}
            http {{
              access_log {self.root}/access.log; client_body_temp_path {self.root}/body;
              proxy_temp_path {self.root}/proxy; fastcgi_temp_path {self.root}/f; uwsgi_temp_path {self.root}/u;
              scgi_temp_path {self.root}/s;
              log_format ranges '$request_method $uri $status $http_range $body_bytes_sent';
              server {{
                listen 127.0.0.1:{self.port}; root {self.root}/www; access_log {self.root}/access.log ranges;
                include {self.root}/rate.conf;
              }}
            }}
        """)
        process = subprocess.Popen(self._nginx())
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return process
            time.sleep(0.05)
        raise AssertionError("nginx does not listen")


def sign(folder: Path, home: Path) -> str:
    """Sign SHA512SUMS with a key made for this; returns the key's fingerprint. The public key lies in the folder."""
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-gen-key", "Throw-away <nobody@example.invalid>", "ed25519", "sign", "1d"],
                   check=True, capture_output=True)  # fmt: skip
    subprocess.run([*gpg, "--armor", "--output", folder / "SHA512SUMS.sign", "--detach-sign", folder / "SHA512SUMS"],
                   check=True, capture_output=True)  # fmt: skip
    subprocess.run([*gpg, "--armor", "--output", folder / "key.asc", "--export"], check=True, capture_output=True)
    listing = subprocess.run([*gpg, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True).stdout
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))


@pytest.fixture(scope="module")
def upstream(bootstrapped: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    root = tmp_path_factory.mktemp("upstream")
    folder = root / "www" / FOLDER
    folder.mkdir(parents=True)
    shutil.copyfile(bootstrapped.stage("bootstrap") / "disk.qcow2", folder / NAME)
    digest = hashlib.sha512((folder / NAME).read_bytes()).hexdigest()
    other = hashlib.sha512(b"another").hexdigest()
    (folder / "SHA512SUMS").write_text(f"{other}  debian-12-generic-amd64.qcow2\n{digest}  {NAME}\n")
    fingerprint = sign(folder, root / "gnupg")

    manifest = yaml.safe_load((ROOT / "distros/debian.yaml").read_text())
    manifest["cloud_image"] = {
        "url": f"{PREFIX}{FOLDER}/{NAME}",
        "checksums": f"{PREFIX}{FOLDER}/SHA512SUMS",
        "algorithm": "sha512",
        "format": "qcow2",
        "trust": {
            "kind": "openpgp",
            "fingerprints": [fingerprint],
            "key_url": f"{PREFIX}{FOLDER}/key.asc",
            "signature": f"{PREFIX}{FOLDER}/SHA512SUMS.sign",
        },
    }
    catalogue = root / "distros"
    shutil.copytree(ROOT / "distros/files", catalogue / "files")
    write(catalogue, manifest, PACKAGES)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    served = Upstream(root=root, port=port, catalogue=catalogue, fingerprint=fingerprint)
    process = served.start()
    yield served
    process.terminate()
    process.wait(10)


def write(catalogue: Path, manifest: dict[str, object], packages: list[str]) -> None:
    manifest["packages"] = [name for name in packages if name != "qemu-guest-agent"]
    (catalogue / "debian.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))


@pytest.fixture(scope="module")
def kmi(tmp_path_factory: pytest.TempPathFactory) -> Kmi:
    return Kmi(folder=tmp_path_factory.mktemp("download"))


@pytest.fixture(scope="module")
def built(upstream: Upstream, kmi: Kmi, base: Path) -> str:
    """``kmi build`` that was killed in the middle of the transfer, then run again. Returns what it said."""
    upstream.limit("16m")
    words = ("build", "debian:12", "--arch", "amd64", "--base", base, "--distros", upstream.catalogue)
    environ = {**kmi.environ, "KMI_MIRRORS": upstream.mirrors, "PYTHONPATH": str(ROOT)}
    killed = subprocess.Popen(kmi.argv(*words), cwd=kmi.folder, env=environ, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(f.stat().st_size > 40_000_000 for f in kmi.cache.rglob(".unverified-*") if f.is_file()):
        assert killed.poll() is None, "the transfer ended before it could be interrupted"
        assert time.monotonic() < deadline, "the transfer does not get on"
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not list((kmi.cache / "blobs" / "sha256").iterdir()), "unverified bytes were named"
    upstream.limit("0")
    return kmi(*words, KMI_MIRRORS=upstream.mirrors).stderr


def receipt(kmi: Kmi) -> dict[str, dict[str, object]]:
    stages = json.loads((kmi.folder / "build/debian-12-amd64/receipt.json").read_text())["stages"]
    return {stage["stage"]: stage for stage in stages}


def test_the_image_is_traced_to_the_pinned_key(built: str, kmi: Kmi, upstream: Upstream) -> None:
    locked = receipt(kmi)["resolve"]["outputs"]
    assert isinstance(locked, dict)
    assert locked["evidence"] == {"kind": "openpgp", "value": upstream.fingerprint}
    shown = kmi("inspect", kmi.folder / "build/debian-12-amd64/oci", "--json").stdout
    assert f"openpgp:{upstream.fingerprint}" in shown
    assert f"{PREFIX}{FOLDER}/{NAME}" in shown
    assert "127.0.0.1" not in shown, "the mirror's address got into the image"


def test_the_interrupted_transfer_was_resumed(built: str, upstream: Upstream) -> None:
    transfers = [line.split() for line in upstream.requests() if f"GET /{FOLDER}/{NAME} " in line]
    assert [words[2] for words in transfers] == ["200", "206"], transfers
    start = re.fullmatch(r"bytes=(\d+)-", transfers[1][3])
    assert start
    size = (upstream.root / "www" / FOLDER / NAME).stat().st_size
    assert int(start[1]) >= 40_000_000
    assert int(transfers[1][4]) == size - int(start[1])


def test_an_unchanged_build_downloads_nothing(built: str, kmi: Kmi, upstream: Upstream, base: Path) -> None:
    before = len([line for line in upstream.requests() if f"GET /{FOLDER}/{NAME} " in line])
    again = kmi("build", "debian:12", "--arch", "amd64", "--base", base, "--distros", upstream.catalogue,
                KMI_MIRRORS=upstream.mirrors)  # fmt: skip
    assert len([line for line in upstream.requests() if f"GET /{FOLDER}/{NAME} " in line]) == before
    assert all(stage["reused"] for name, stage in receipt(kmi).items() if name != "resolve")
    for name in ("fetch", "customize", "finish", "wrap"):
        assert re.search(rf"= debian-12-amd64 +{name} +reused", again.stderr), again.stderr


def test_a_changed_package_list_says_why_it_runs_again(built: str, kmi: Kmi, upstream: Upstream, base: Path) -> None:
    manifest = yaml.safe_load((upstream.catalogue / "debian.yaml").read_text())
    write(upstream.catalogue, manifest, ["qemu-guest-agent", "net-tools"])
    again = kmi("build", "debian:12", "--arch", "amd64", "--base", base, "--distros", upstream.catalogue,
                KMI_MIRRORS=upstream.mirrors)  # fmt: skip
    stages = receipt(kmi)
    assert {name: stages[name]["reused"] for name in ("fetch", "customize", "finish", "wrap", "index")} == {
        "fetch": True, "customize": False, "finish": False, "wrap": False, "index": False,
    }  # fmt: skip
    assert "customize runs again: recipe.packages: +net-tools -tmux" in again.stderr
    assert "finish runs again: customized:" in again.stderr
