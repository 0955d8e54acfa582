"""A whole catalogue in seconds: a boot sector of 1 MiB as the cloud image, with signed checksums and a server.

Openly a stand-in: it prints a login prompt and does nothing else. All of kmi's stages but the customisation run on it
as they run on a real system.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests import living
from tests.answering import answering
from tests.boot_sector import boot_sector

ROOT = Path(__file__).parents[1]
PREFIX = "https://tiny.example/"
LOGIN = b"\r\ntiny login: "


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """``www/<name>/disk.img`` with ``SHA256SUMS``, its signature and the key; ``distros`` is the catalogue."""

    root: Path
    fingerprint: str
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def www(self) -> Path:
        return self.root / "www"

    @property
    def distros(self) -> Path:
        return self.root / "distros"

    def disk(self, name: str = "tiny") -> Path:
        return self.www / name / "disk.img"

    def publish(self, name: str, disk: bytes | None = None, **changes: Any) -> None:
        """Put a disk and its signed checksums on the server, and a manifest ``name`` (with ``changes`` at its top
        level) into the catalogue."""
        folder = self.www / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "disk.img").write_bytes(boot_sector(LOGIN) if disk is None else disk)
        self.sign(name, f"{hashlib.sha256((folder / 'disk.img').read_bytes()).hexdigest()}  disk.img\n")
        self.manifests[name] = manifest(name, self.fingerprint) | changes
        self.save(name)

    def sign(self, name: str, sums: str) -> None:
        """Replace the checksum document and sign it."""
        folder = self.www / name
        (folder / "SHA256SUMS").write_text(sums)
        (folder / "SHA256SUMS.sign").unlink(missing_ok=True)
        _gpg(self.root, "--armor", "--output", folder / "SHA256SUMS.sign", "--detach-sign", folder / "SHA256SUMS")
        shutil.copyfile(self.root / "key.asc", folder / "key.asc")

    def save(self, name: str) -> None:
        """Write the manifest after a change in ``manifests``."""
        (self.distros / f"{name}.yaml").write_text(yaml.safe_dump(self.manifests[name], sort_keys=False))


def make(root: Path, *names: str, **changes: Any) -> Tiny:
    """A catalogue of ``names`` (default: one, ``tiny``) below the empty or missing folder ``root``."""
    (root / "distros" / "files").mkdir(parents=True)
    (root / "distros" / "files" / "licence.txt").write_text("Anybody may do anything with it.\n")
    (root / "gnupg").mkdir(mode=0o700)
    _gpg(root, "--quick-gen-key", "Throw-away <nobody@example.invalid>", "ed25519", "sign", "1d")
    _gpg(root, "--armor", "--output", root / "key.asc", "--export")
    listing = _gpg(root, "--with-colons", "--list-keys")
    tiny = Tiny(root=root, fingerprint=next(row.split(":")[9] for row in listing.splitlines() if row[:4] == "fpr:"))
    for name in names or ("tiny",):
        tiny.publish(name, **changes)
    return tiny


def manifest(name: str, fingerprint: str) -> dict[str, Any]:
    """One release, ``1``, of a system that shows a login prompt: preview, so every boot check only advises."""
    return {
        "distro": name,
        "title": "Tiny",
        "documentation": f"{PREFIX}{name}/",
        "licence": {"name": "0BSD", "url": f"{PREFIX}{name}/licence", "file": "files/licence.txt"},
        "user": "nobody",
        "init": "none",
        "agent": {"state": "absent"},
        "instancetype": "u1.nano",
        "preference": "linux",
        "firmware": {"amd64": ["bios"]},
        "virtual_size": "2MiB",
        "cloud_image": {
            "url": f"{PREFIX}{name}/disk.img",
            "checksums": f"{PREFIX}{name}/SHA256SUMS",
            "algorithm": "sha256",
            "format": "raw",
            "trust": {
                "kind": "openpgp",
                "fingerprints": [fingerprint],
                "key_url": f"{PREFIX}{name}/key.asc",
                "signature": f"{PREFIX}{name}/SHA256SUMS.sign",
            },
        },
        "customize": "none",
        "customize_reason": "a boot sector has no file system",
        "releases": [{"version": "1", "tier": "preview", "default": "true", "architectures": ["amd64"]}],
    }


def as_qcow2(raw: Path) -> bytes:
    """The same disk as a qcow2."""
    made = raw.with_suffix(".qcow2")
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(made)], check=True)
    data = made.read_bytes()
    made.unlink()
    return data


@contextmanager
def served(www: Path) -> Iterator[str]:
    """The folder on a loopback port, for the block; yields the value of ``KMI_MIRRORS``."""
    handler = partial(_Quiet, directory=str(www))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with answering(server):
        yield f"{PREFIX}=http://127.0.0.1:{server.server_address[1]}/"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        pass


def local_base(folder: Path) -> Path:
    """The base image made of this machine's busybox, as an OCI layout."""
    layout = folder / "base"
    argv = [sys.executable, str(ROOT / "containerfiles/base/local_base.py"), str(layout)]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return layout


@dataclass(frozen=True, kw_only=True)
class Kmi:
    """kmi with a home, cache, key and output folder of its own, all below ``folder``."""

    folder: Path
    tiny: Tiny
    base: Path
    mirrors: str

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def public(self) -> Path:
        return self.folder / "key" / "cosign.pub"

    def environ(self, **more: str) -> dict[str, str]:
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT),
            "KMI_CACHE": str(self.cache), "KMI_KEY": str(self.public.with_suffix(".key")),
            "KMI_DISTROS": str(self.tiny.distros), "KMI_BASE": str(self.base), "KMI_MIRRORS": self.mirrors, **more,
        }  # fmt: skip

    def argv(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "kmi", *map(str, words)]

    def __call__(self, *words: str | Path, timeout: float = 300, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end, whatever that is."""
        return subprocess.run(
            self.argv(*words), cwd=self.folder, env=self.environ(**environ), capture_output=True, text=True,
            timeout=timeout,
        )  # fmt: skip

    def start(self, *words: str | Path, **environ: str) -> subprocess.Popen[str]:
        """Start it, to be killed; stdout and stderr come as one stream of lines."""
        return subprocess.Popen(
            [*living.OBEDIENT, *self.argv(*words)], cwd=self.folder, env=self.environ(**environ), text=True,
            bufsize=1, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip


def _gpg(root: Path, *words: str | Path) -> str:
    argv = ["gpg", "--homedir", root / "gnupg", "--batch", "--pinentry-mode", "loopback", "--passphrase", "", *words]
    try:
        return subprocess.run(list(map(str, argv)), check=True, capture_output=True, text=True).stdout
    finally:  # gpg starts an agent, which would stay
        subprocess.run(["gpgconf", "--homedir", str(root / "gnupg"), "--kill", "all"], check=True)
