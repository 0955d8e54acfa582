"""The download path whole: manifest, checksum document, signature, transfer, digest, disk header, cache."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kmi.catalogue import load, select
from kmi.errors import NetworkError, UsageError, VerificationError
from kmi.host.files import seal, unseal, write_json
from kmi.host.http import Http
from kmi.host.patience import Patience
from kmi.host.run import run
from kmi.host.store import Store
from kmi.host.ui import Reporter, Step
from kmi.model.digest import Digest
from kmi.model.spec import CloudImage, ImageSpec, Trust
from kmi.model.stages import Locked
from kmi.settings import Settings
from kmi.upstream.fetch import cached, fetch
from kmi.upstream.resolve import resolve
from tests.serving import Fault, Upstream, serving
from tests.signing import Signer, signer

ROOT = Path(__file__).parents[2]
NAME = "debian-12-genericcloud-amd64.qcow2"
LATEST = "https://cloud.debian.org/images/cloud/bookworm/latest/"
LISTED = CloudImage(
    url=LATEST + NAME, checksums=LATEST + "SHA512SUMS", algorithm="sha512", format="qcow2", trust=Trust(kind="tls-only")
)
QUICK = Patience(connect=2, stall=2, attempts=3, pause=0.01, longest=0.1)
MODIFIED = datetime(2025, 2, 10, 20, 19, tzinfo=UTC)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("disk")
    (folder / "disk.raw").write_bytes(hashlib.shake_256(b"disk").digest(1 << 20))
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", folder / "disk.raw", folder / "disk.qcow2"])
    return (folder / "disk.qcow2").read_bytes()


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Signer, str]]:
    with signer(tmp_path_factory.mktemp("keys")) as home:
        yield home, home.key("publisher")


class Site:
    """A publisher with one image, and a kmi cache."""

    def __init__(self, upstream: Upstream, disk: bytes, folder: Path) -> None:
        self.upstream = upstream
        self.disk = disk
        self.folder = folder
        self.store = Store(folder / "cache")
        self.settings = Settings(cache=folder / "cache")
        mirrors = ((LATEST, upstream.url + "/"),)
        self.http = Http(mirrors=mirrors, patience=QUICK)
        self.reporter = Reporter(io.StringIO())
        self.spec = replace(select(load(ROOT / "distros"), ["debian:12"], "amd64")[0], cloud_image=LISTED)
        upstream.put(f"/{NAME}", disk)
        self.sums(hashlib.sha512(disk).hexdigest())

    def sums(self, value: str, name: str = NAME) -> bytes:
        document = f"{'0' * 128}  debian-12-genericcloud-arm64.qcow2\n{value}  {name}\n".encode()
        self.upstream.put("/SHA512SUMS", document)
        return document

    def step(self) -> Step:
        return Step(self.reporter, "debian-12-amd64", "fetch")

    def resolve(self, spec: ImageSpec | None = None, settings: Settings | None = None) -> Locked:
        with self.store.scratch() as scratch:
            return resolve(
                spec or self.spec, http=self.http, settings=settings or self.settings, scratch=scratch, step=self.step()
            )

    def unverified(self) -> list[str]:
        return sorted(path.name for path in (self.store.root / "partial").glob("*"))

    def named(self) -> list[Path]:
        return [path for kind in ("blobs", "locked") for path in (self.store.root / kind).rglob("*") if path.is_file()]


@pytest.fixture
def site(disk: bytes, tmp_path: Path) -> Iterator[Site]:
    with serving() as upstream:
        made = Site(upstream, disk, tmp_path)
        yield made
        made.http.close()


def test_an_image_with_a_list_of_checksums_beside_it_is_downloaded(site: Site) -> None:
    locked = site.resolve()
    assert str(locked.digest) == "sha512:" + hashlib.sha512(site.disk).hexdigest()
    assert (locked.size, locked.build, locked.released_at) == (len(site.disk), "20250210", MODIFIED)
    assert (str(locked.evidence), locked.format) == ("tls-only", "qcow2")
    assert locked.url == f"https://cloud.debian.org/images/cloud/bookworm/latest/{NAME}", "not the mirror's"
    image = fetch(locked, store=site.store, http=site.http, step=site.step())
    assert image.path.read_bytes() == site.disk
    assert image.digest.hex == hashlib.sha256(site.disk).hexdigest() == image.path.name
    assert (image.origin.method, image.origin.checksum) == ("download", locked.digest)
    assert image.path.stat().st_mode & 0o777 == 0o444
    assert site.unverified() == []


def test_a_second_fetch_asks_nobody(site: Site) -> None:
    locked = site.resolve()
    assert cached(locked, site.store) is None
    first = fetch(locked, store=site.store, http=site.http, step=site.step())
    site.upstream.requests.clear()
    step = site.step()
    assert fetch(locked, store=site.store, http=site.http, step=step) == first
    assert step.reused
    assert cached(locked, Store(site.store.root)) == first
    assert site.upstream.requests == []


def test_a_flipped_bit_in_the_cache_is_found_and_mended(site: Site) -> None:
    locked = site.resolve()
    image = fetch(locked, store=site.store, http=site.http, step=site.step())
    image.path.chmod(0o644)
    with image.path.open("r+b") as file:
        file.seek(300_000)
        file.write(b"\xff\x00\xff")
    site.upstream.faults[f"/{NAME}"] = [Fault(cut=0)] * QUICK.attempts
    with pytest.raises(NetworkError):
        fetch(locked, store=site.store, http=site.http, step=site.step())
    assert not any(path.is_relative_to(site.store.root / "blobs") for path in site.named()), "the damaged blob is gone"
    assert cached(locked, site.store) is None
    again = fetch(locked, store=site.store, http=site.http, step=site.step())
    assert again.path.read_bytes() == site.disk


class Killed(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("last", ["write_json", "adopt", "discard"])
def test_a_kill_at_the_very_end_costs_no_download(site: Site, monkeypatch: pytest.MonkeyPatch, last: str) -> None:
    """Whichever of the last acts is the one that does not happen any more, the next run has the bytes."""

    def killed(*_: object) -> None:
        raise Killed

    place = {"write_json": "kmi.upstream.known.write_json", "adopt": "kmi.host.store.Store.adopt",
             "discard": "kmi.upstream.fetch.partial.discard"}[last]  # fmt: skip
    locked = site.resolve()
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(place, killed)
        fetch(locked, store=site.store, http=site.http, step=site.step())
    assert (cached(locked, site.store) is not None) == (last == "discard"), "a pointer alone is nothing"
    site.upstream.requests.clear()
    image = fetch(locked, store=Store(site.store.root), http=site.http, step=site.step())
    assert image.path.read_bytes() == site.disk
    assert sum(get.sent for get in site.upstream.gets(f"/{NAME}")) == 0
    assert site.unverified() == []
    assert cached(locked, site.store) == image


def test_a_manifest_that_declares_another_format_is_not_served_from_the_cache(site: Site) -> None:
    locked = site.resolve()
    first = fetch(locked, store=site.store, http=site.http, step=site.step())
    other = replace(locked, format="raw")
    assert cached(other, site.store) is None
    site.upstream.requests.clear()
    with pytest.raises(VerificationError) as caught:
        fetch(other, store=site.store, http=site.http, step=site.step())
    assert caught.value.got == "the signature of qcow2"
    assert cached(other, site.store) is None
    assert cached(locked, site.store) == first
    assert site.upstream.requests == []


def test_a_pointer_without_a_format_is_looked_at_again(site: Site) -> None:
    locked = site.resolve()
    first = fetch(locked, store=site.store, http=site.http, step=site.step())
    pointer = site.store.root / "locked" / f"sha512-{locked.digest.hex}.json"
    known = unseal(pointer)
    assert known and known.pop("format") == "qcow2"
    write_json(pointer, seal(known))
    assert cached(locked, site.store) is None
    site.upstream.requests.clear()
    assert fetch(locked, store=site.store, http=site.http, step=site.step()) == first
    assert cached(locked, site.store) == first
    assert site.upstream.requests == []


def test_a_damaged_pointer_counts_for_nothing(site: Site) -> None:
    locked = site.resolve()
    first = fetch(locked, store=site.store, http=site.http, step=site.step())
    pointer = site.store.root / "locked" / f"sha512-{locked.digest.hex}.json"
    for rubbish in ("", "{}", "[]", json.dumps({"sha256": "../../etc/passwd", "pulled_at": "2025-01-01"})):
        pointer.write_text(rubbish)
        assert cached(locked, site.store) is None
    assert fetch(locked, store=site.store, http=site.http, step=site.step()).path == first.path


def test_another_file_than_the_checksum_says_is_never_named(site: Site) -> None:
    locked = site.resolve()
    site.upstream.put(f"/{NAME}", site.disk[:-1] + b"!")
    with pytest.raises(VerificationError) as caught:
        fetch(locked, store=site.store, http=site.http, step=site.step())
    assert caught.value.expected == locked.digest
    assert site.unverified() == []
    assert site.named() == []


def test_a_genuine_file_with_a_backing_file_is_never_named(site: Site, tmp_path: Path) -> None:
    evil = tmp_path / "evil.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", evil, "1M"])
    site.upstream.put(f"/{NAME}", evil.read_bytes())
    site.sums(hashlib.sha512(evil.read_bytes()).hexdigest())
    with pytest.raises(VerificationError) as caught:
        fetch(site.resolve(), store=site.store, http=site.http, step=site.step())
    assert caught.value.got == "a backing file"
    assert site.unverified() == []
    assert site.named() == []


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("", NAME),
        ("a1" * 32, NAME),
        ("a1" * 64, "other.qcow2"),
        ("a1" * 64, f"x\n{'b2' * 64}  {NAME}\n{'b2' * 64}  {NAME}"),
    ],
)
def test_a_checksum_document_without_one_good_line_is_refused(site: Site, value: str, name: str) -> None:
    site.sums(value, name)
    with pytest.raises(VerificationError):
        site.resolve()


def test_a_page_in_place_of_the_document_is_refused(site: Site) -> None:
    site.upstream.put("/SHA512SUMS", b"<!DOCTYPE html><html>Please log in</html>")
    with pytest.raises(VerificationError, match="web page"):
        site.resolve()


def test_a_missing_document_is_a_network_error(site: Site) -> None:
    del site.upstream.files["/SHA512SUMS"]
    with pytest.raises(NetworkError) as caught:
        site.resolve()
    assert caught.value.got == "status 404 Not Found"


def test_without_a_date_of_the_image_the_documents_counts(site: Site) -> None:
    site.upstream.files[f"/{NAME}"].modified = None
    assert site.resolve().released_at == MODIFIED
    site.upstream.files["/SHA512SUMS"].modified = None
    with pytest.raises(VerificationError, match="no date"):
        site.resolve()


def test_a_transfer_that_was_cut_is_resumed_in_the_next_run(site: Site) -> None:
    locked = site.resolve()
    site.upstream.faults[f"/{NAME}"] = [Fault(cut=50_000)] * QUICK.attempts
    with pytest.raises(NetworkError):
        fetch(locked, store=site.store, http=site.http, step=site.step())
    assert site.unverified()[0].startswith(".unverified-sha512-")
    fetch(locked, store=Store(site.store.root), http=site.http, step=site.step())
    gets = site.upstream.gets(f"/{NAME}")
    assert gets[-1].headers["Range"] == "bytes=150000-"
    assert sum(get.sent for get in gets) == len(site.disk)
    assert site.unverified() == []


SLOW_SERVER = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = open(sys.argv[1], "rb").read()
        self.send_response(200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:400000])
        self.wfile.flush()
        time.sleep(60)
    def log_message(self, *words): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""
CLIENT = """
import sys
from pathlib import Path
from kmi.host.files import seal, unseal, write_json
from kmi.host.http import Http
Http().download(sys.argv[1], Path(sys.argv[2]), algorithms=("sha256",), size_cap=1 << 30)
"""


def test_a_killed_process_leaves_what_the_next_one_resumes(site: Site) -> None:
    """SIGKILL in mid-transfer, by a server that sends a part and then holds the line."""
    source = site.folder / "source"
    source.write_bytes(site.disk)
    partial = site.store.root / "partial" / f".unverified-sha512-{hashlib.sha512(site.disk).hexdigest()}"
    partial.parent.mkdir(exist_ok=True)
    with subprocess.Popen([sys.executable, "-c", SLOW_SERVER, source], stdout=subprocess.PIPE, text=True) as slow:
        assert slow.stdout
        url = f"http://127.0.0.1:{slow.stdout.readline().strip()}/"
        with subprocess.Popen([sys.executable, "-c", CLIENT, url, partial], cwd=ROOT) as victim:
            deadline = time.monotonic() + 30
            while not (partial.exists() and partial.stat().st_size == 400_000) and time.monotonic() < deadline:
                time.sleep(0.05)
            victim.kill()
        slow.kill()
    assert partial.stat().st_size == 400_000
    fetch(site.resolve(), store=site.store, http=site.http, step=site.step())
    (get,) = site.upstream.gets(f"/{NAME}")
    assert (get.headers["Range"], get.sent) == ("bytes=400000-", len(site.disk) - 400_000)


SIGNED = """\
distro: debian
title: Debian
documentation: https://example.org/
licence: {name: LicenseRef-X, url: "https://example.org/l", file: files/licence.txt}
user: debian
init: cloud-init
agent: {package: qemu-guest-agent, service: qemu-guest-agent}
instancetype: u1.small
preference: debian
firmware: {amd64: [bios]}
cloud_image:
  url: https://publisher.invalid/debian-{version}-genericcloud-{arch}.qcow2
  checksums: https://publisher.invalid/SHA512SUMS
  algorithm: sha512
  format: qcow2
  trust:
    kind: openpgp
    fingerprints: [FINGERPRINT]
    key_url: https://publisher.invalid/key.asc
    signature: https://publisher.invalid/SHA512SUMS.sign
releases:
  - {version: "12", codename: bookworm, tier: preview, default: true, architectures: [amd64]}
"""


@pytest.fixture
def signed(site: Site, gpg: tuple[Signer, str], tmp_path: Path) -> tuple[Site, Signer, ImageSpec]:
    """The same site as its own catalogue sees it: signed, and its throw-away key pinned."""
    home, key = gpg
    folder = tmp_path / "distros"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "licence.txt").write_text("free")
    (folder / "debian.yaml").write_text(SIGNED.replace("FINGERPRINT", key))
    site.http = Http(mirrors=(("https://publisher.invalid/", site.upstream.url + "/"),), patience=QUICK)
    document = site.upstream.files["/SHA512SUMS"].body
    site.upstream.put("/SHA512SUMS.sign", home.detached(key, document))
    site.upstream.put("/key.asc", home.public(key))
    return site, home, select(load(folder), ["debian"], "amd64")[0]


def test_a_signed_document_is_traced_to_the_pinned_key(
    signed: tuple[Site, Signer, ImageSpec], gpg: tuple[Signer, str]
) -> None:
    site, _, spec = signed
    locked = site.resolve(spec)
    assert str(locked.evidence) == f"openpgp:{gpg[1]}"
    assert abs((datetime.now(UTC) - locked.released_at).total_seconds()) < 600, "the signature's time, not the file's"
    image = fetch(locked, store=site.store, http=site.http, step=site.step())
    assert image.path.read_bytes() == site.disk
    assert image.origin.evidence == locked.evidence


def test_a_document_that_was_not_signed_is_refused(signed: tuple[Site, Signer, ImageSpec]) -> None:
    site, _, spec = signed
    site.sums("b2" * 64)
    with pytest.raises(VerificationError, match="not good"):
        site.resolve(spec)
    assert site.upstream.gets(f"/{NAME}") == []


def test_a_missing_signature_is_no_way_around(signed: tuple[Site, Signer, ImageSpec]) -> None:
    site, _, spec = signed
    del site.upstream.files["/SHA512SUMS.sign"]
    with pytest.raises(NetworkError):
        site.resolve(spec)


def test_an_exchanged_key_is_refused(signed: tuple[Site, Signer, ImageSpec]) -> None:
    site, home, spec = signed
    thief = home.key("thief")
    site.upstream.put("/key.asc", home.public(thief))
    site.upstream.put("/SHA512SUMS.sign", home.detached(thief, site.upstream.files["/SHA512SUMS"].body))
    with pytest.raises(VerificationError, match="not the pinned one"):
        site.resolve(spec)


def test_a_folder_of_keys_stands_for_the_publishers_url(
    signed: tuple[Site, Signer, ImageSpec], gpg: tuple[Signer, str], tmp_path: Path
) -> None:
    site, home, spec = signed
    del site.upstream.files["/key.asc"]
    keys = tmp_path / "keyrings"
    keys.mkdir()
    with pytest.raises(NetworkError):
        site.resolve(spec, Settings(cache=site.store.root, keyrings=keys))
    (keys / f"{gpg[1]}.asc").write_bytes(home.public(gpg[1]))
    assert site.resolve(spec, Settings(cache=site.store.root, keyrings=keys)).evidence.value == gpg[1]


def test_an_image_that_is_only_bootstrapped_has_no_download(site: Site) -> None:
    with pytest.raises(UsageError, match="no image to download"):
        site.resolve(replace(site.spec, cloud_image=None))


def test_two_runs_at_once_fetch_it_once(site: Site) -> None:
    """The second waits for the first and finds its work done; the lock is by open file, as between processes."""
    locked = site.resolve()

    def one(_: int) -> Path:
        client = Http(mirrors=((locked.url, f"{site.upstream.url}/{NAME}"),), patience=QUICK)
        try:
            return fetch(locked, store=Store(site.store.root), http=client, step=site.step()).path
        finally:
            client.close()

    with ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(one, range(3)))
    assert paths == {site.store.blob(Digest(algorithm="sha256", hex=hashlib.sha256(site.disk).hexdigest()))}
    assert len(site.upstream.gets(f"/{NAME}")) == 1
