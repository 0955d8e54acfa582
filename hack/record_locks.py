"""Write the locks that the recorded documents of publishers prove, and no other.

``kmi lock`` itself runs, on the real manifests, against a server on loopback that has the recorded documents under
their real names: signatures are checked and entries written by nobody but kmi's own verifier. What only helps to find a
build (``LOOKUPS``) is no recorded document; the signed one has to name the file all the same. Sizes are unknown.

    KMI_SAMPLES=<folder of recorded documents> .venv/bin/python hack/record_locks.py [--distros DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

IMAGES = (
    ("ubuntu:24.04", "all"),
    ("fedora:44", "arm64"),
    ("opensuse-leap:16.0", "arm64"),
    ("freebsd:15.1", "all"),
)
"""Selector and architecture of every image that a recorded, signed document names."""

_UBUNTU = "https://cloud-images.ubuntu.com/releases/noble/release-20260725"
_FEDORA = "https://download.fedoraproject.org/pub/fedora/linux/releases/44/Cloud/aarch64/images"
_LEAP = "https://download.opensuse.org/distribution/leap/16.0/appliances"
_LEAP_SUM = "Leap-16.0-Minimal-VM.aarch64-Cloud-Build18.7.qcow2.sha256"
_FREEBSD = "https://www.freebsd.org/releases/15.1R/checksums"
_KEYS = "https://raw.githubusercontent.com/rpm-software-management/distribution-gpg-keys/HEAD/keys"

DOCUMENTS = {
    f"{_UBUNTU}/SHA256SUMS": "ubuntu-24.04-release-20260725-SHA256SUMS",
    f"{_UBUNTU}/SHA256SUMS.gpg": "ubuntu-24.04-release-20260725-SHA256SUMS.gpg",
    "https://keyserver.ubuntu.com/pks/lookup?op=get&search=0xD2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81":
        "key-ubuntu-D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81.asc",
    f"{_FEDORA}/Fedora-Cloud-44-1.7-aarch64-CHECKSUM": "fedora-44-aarch64-Fedora-Cloud-44-1.7-aarch64-CHECKSUM",
    "https://fedoraproject.org/fedora.gpg": "key-fedora-keyring.gpg",
    f"{_LEAP}/{_LEAP_SUM}": f"opensuse-leap-16.0-{_LEAP_SUM}",
    f"{_LEAP}/{_LEAP_SUM}.asc": f"opensuse-leap-16.0-{_LEAP_SUM}.asc",
    "https://build.opensuse.org/projects/openSUSE:Factory/signing_keys/download?kind=gpg":
        "key-opensuse-AD485664E901B867051AB15F35A2F86E29B700A4.asc",
    **{
        f"{_FREEBSD}/CHECKSUM.SHA256-FreeBSD-15.1-RELEASE-{arch}-vm.asc":
            f"freebsd-15.1-CHECKSUM.SHA256-FreeBSD-15.1-RELEASE-{arch}-vm.asc"
        for arch in ("amd64", "arm64-aarch64")
    },
    f"{_KEYS}/freebsd/cperciva.key": "key-freebsd-cperciva.key",
}  # fmt: skip
"""Recorded documents by the URL they were published at."""


def _streams() -> bytes:
    """The builds of Ubuntu that simplestreams would name."""
    product = {"versions": {"20260725": {"items": {"disk1.img": {}}}}}
    arches = ("amd64", "arm64", "s390x", "ppc64el")
    return json.dumps({"products": {f"com.ubuntu.cloud:server:24.04:{arch}": product for arch in arches}}).encode()


LOOKUPS = {
    "https://cloud-images.ubuntu.com/releases/streams/v1/com.ubuntu.cloud:released:download.json": _streams(),
    "https://getfedora.org/releases.json":
        json.dumps([{"link": f"{_FEDORA}/Fedora-Cloud-Base-Generic-44-1.7.aarch64.qcow2"}]).encode(),
    f"{_LEAP}/": f'<a href="{_LEAP_SUM.removesuffix(".sha256")}">x</a>'.encode(),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=Path, default=os.environ.get("KMI_SAMPLES"), help="the recorded documents")
    parser.add_argument("--distros", type=Path, default=ROOT / "distros", help="the catalogue (default: kmi's own)")
    args = parser.parse_args()
    if args.samples is None:
        parser.error("name the folder of recorded documents with --samples or KMI_SAMPLES")
    from kmi import cli

    world = {url: (args.samples / name).read_bytes() for url, name in DOCUMENTS.items()} | LOOKUPS
    for name in [name for name in os.environ if name.startswith(("KMI_", "GITHUB_"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as cache, served(world) as mirrors:
        os.environ |= {"KMI_MIRRORS": mirrors, "KMI_CACHE": cache, "KMI_DISTROS": str(args.distros.absolute())}
        return max(cli.main(["lock", selector, "--arch", arch]) for selector, arch in IMAGES)


@contextmanager
def served(world: Mapping[str, bytes]) -> Iterator[str]:
    """The documents on a loopback port; yields the value of ``KMI_MIRRORS``. Every HEAD is answered, without a size."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            body = world.get("https:/" + self.path)
            self.send_response(200 if body is not None else 404)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hosts = {urlsplit(url).netloc for url in world} | {"download.freebsd.org"}
    try:
        yield " ".join(f"https://{host}/=http://127.0.0.1:{server.server_port}/{host}/" for host in sorted(hosts))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    sys.exit(main())
