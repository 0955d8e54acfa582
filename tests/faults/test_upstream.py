"""``kmi build`` against a publisher's server that fails: the right image or a clear error, in bounded time, and never a
bad file in the cache. After an error that left something, the same command against an honest server gives the right
image.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests import tiny, upstream_faults
from tests.boot_sector import boot_sector
from tests.fault_record import record, seeds
from tests.tiny import LOGIN, PREFIX, Kmi, Tiny
from tests.upstream_faults import (
    Script,
    Served,
    Server,
    Talk,
    body,
    chunks,
    cut,
    drip,
    endless,
    faulty,
    lengths,
    raw,
    redirect,
    stall,
    status,
    swapped,
)

DISK, SUMS, SIGN, KEY = (f"/tiny/{name}" for name in ("disk.img", "SHA256SUMS", "SHA256SUMS.sign", "key.asc"))
PATIENCE = 0.3
"""Seconds. At least 300 bytes must then come in that time, Retry-After counts up to 1.2 s, a document has 6 s."""
BOUND = 40.0
"""Seconds within which every single run must have ended; most end in one."""
WHOLE = 1 << 20
CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PAGE = b"<!DOCTYPE html>\n<html><body>Please log in to the network.</body></html>\n"


@dataclass(frozen=True, kw_only=True)
class Product:
    """A catalogue, and the digest of the finished disk that is made of its image."""

    tiny: Tiny
    base: Path
    digest: str = ""

    def fill(self, server: Server) -> None:
        """Have the server be honest."""
        for path in self.tiny.www.rglob("*"):
            if path.is_file():
                server.put(f"/{path.relative_to(self.tiny.www)}", path.read_bytes())


@dataclass(frozen=True, kw_only=True)
class Site:
    """One user: a cache of their own, and a server."""

    product: Product
    server: Server
    kmi: Kmi

    def build(self, case: str, **environ: str) -> tuple[int, str, str, float]:
        """Exit status, stdout, stderr and seconds of ``kmi build tiny``; the cache is looked through."""
        began = time.monotonic()
        ended = self.kmi("build", "tiny", **{"KMI_PATIENCE": str(PATIENCE), **environ}, timeout=BOUND)
        seconds = time.monotonic() - began
        self.sound()
        assert "Traceback" not in ended.stderr, f"{case}: {ended.stderr}"
        if ended.returncode == 0:
            assert disk(self.kmi) == self.product.digest, "an image, but not the right one"
        else:
            assert ended.stdout == ""
        return ended.returncode, ended.stdout, ended.stderr, seconds

    def sound(self) -> None:
        """Every blob is what its name says, and every pointer leads to one."""
        blobs = [path for path in (self.kmi.cache / "blobs").rglob("*") if path.is_file()]
        for blob in blobs:
            assert hashlib.new(blob.parent.name, blob.read_bytes()).hexdigest() == blob.name
        for pointer in (self.kmi.cache / "locked").glob("*.json"):
            assert json.loads(pointer.read_text())["sha256"] in {blob.name for blob in blobs}

    def mends(self) -> None:
        """The server is honest again, and the same command does what it should have done."""
        self.product.fill(self.server)
        self.server.heads.clear()
        exit_status, _, told, _ = self.build("honest")
        assert exit_status == 0, told
        assert not list((self.kmi.cache / "partial").glob(".unverified-*")), "something unproved was left"


def disk(kmi: Kmi) -> str:
    """The digest of the finished disk, as the receipt of the last run has it."""
    stages = json.loads((kmi.folder / "build/tiny-1-amd64/receipt.json").read_text())["stages"]
    return next(str(stage["outputs"]["digest"]) for stage in stages if stage["stage"] == "finish")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Product:
    """Made once, with the digest of an undisturbed run. The disk is noise, so that no two parts of it are alike."""
    folder = tmp_path_factory.mktemp("product")
    catalogue = tiny.make(folder / "tiny")
    sector = boot_sector(LOGIN)
    catalogue.publish("tiny", disk=sector[:512] + random.Random(1).randbytes(len(sector) - 512))
    made = Product(tiny=catalogue, base=tiny.local_base(folder))
    with faulty() as server:
        made.fill(server)
        kmi = Kmi(folder=folder, tiny=catalogue, base=made.base, mirrors=f"{PREFIX}={server.url}/")
        ended = kmi("build", "tiny")
    subprocess.run(["gpgconf", "--homedir", str(catalogue.root / "gnupg"), "--kill", "all"], check=True)
    assert ended.returncode == 0, ended.stderr
    return replace(made, digest=disk(kmi))


@pytest.fixture
def site(product: Product, tmp_path: Path) -> Iterator[Site]:
    with faulty() as server:
        product.fill(server)
        mirrors = f"{PREFIX}={server.url}/"
        yield Site(product=product, server=server,
                   kmi=Kmi(folder=tmp_path, tiny=product.tiny, base=product.base, mirrors=mirrors))  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Case:
    """What the server does with the GETs of ``path``: ``once`` each of these, then it is honest; or ``always`` this."""

    path: str = DISK
    once: tuple[Script, ...] = ()
    always: Script | None = None
    heads: Script | None = None
    exit: int = 0
    says: tuple[str, ...] = ()

    def arrange(self, server: Server) -> None:
        server.scripts[self.path] = itertools.repeat(self.always) if self.always else iter(self.once)
        if self.heads:
            server.heads[self.path] = itertools.repeat(self.heads)


def moment(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def lying(talk: Talk) -> None:
    """A validator that stays the same while the file does not."""
    data = random.Random(len(talk.server.log)).randbytes(len(talk.file.body))
    start = talk.offset
    span = f"Content-Range: bytes {start}-{len(data) - 1}/{len(data)}"
    talk.head("206 Partial Content" if start else "200 OK", *([span] if start else []), length=len(data) - start)
    talk.send(data[start : start + 300_000])


def changing(talk: Talk) -> None:
    """Another file, and another tag, at each request."""
    number = len(talk.server.log)
    talk.replace(Served(body=random.Random(number).randbytes(1 << 20), etag=f'"{number}"'))
    cut(300_000)(talk)


def mixing(talk: Talk) -> None:
    """The rest of another file, openly under another tag, although If-Range forbids that."""
    end = len(talk.file.body)
    span = f"Content-Range: bytes {talk.offset}-{end - 1}/{end}"
    talk.send(f'HTTP/1.1 206 Partial Content\r\nETag: "other"\r\n{span}\r\nContent-Length: {end - talk.offset}\r\n\r\n')
    talk.send(bytes(end - talk.offset))


def weak(talk: Talk) -> None:
    talk.replace(Served(body=talk.file.body, etag='W/"x"'))
    cut(400_000)(talk)


def unnamed(talk: Talk) -> None:
    """Nothing tells one version from another, so nothing can be gone on with."""
    talk.replace(Served(body=talk.file.body, etag=None, modified=None))
    cut(400_000)(talk)


def late(talk: Talk) -> None:
    """A part of the old file under the old tag, and from then on the right one."""
    talk.send(f'HTTP/1.1 200 OK\r\nETag: "old"\r\nContent-Length: {WHOLE}\r\n\r\n')
    talk.send(bytes(400_000))


def ten(talk: Talk) -> None:
    """Ten bytes of the file, though all of it was asked for."""
    talk.head("206 Partial Content", f"Content-Range: bytes 0-9/{WHOLE}", length=10)
    talk.send(talk.file.body[:10])


CASES: dict[str, Case] = {
    # The line.
    "cut once": Case(once=(cut(500_000),)),
    "cut four times": Case(once=(cut(100_000), cut(1), cut(0), cut(300_000))),
    "cut every time": Case(always=cut(1000), exit=6, says=("was cut", "disk.img")),
    "cut at the last byte": Case(once=(cut(WHOLE - 1),)),
    "a chunked body that is cut": Case(
        once=(chunks(b"100000\r\n", bytes(0)), chunks(b"zz\r\n"))),
    "stalls once": Case(once=(stall(500_000),)),
    "stalls every time": Case(always=stall(10), exit=6, says=("fell silent",)),
    "stalls in the header": Case(always=raw("HTTP/1.1 200", hold=60), exit=6, says=("fell silent",)),
    "never answers": Case(path=SUMS, always=lambda talk: talk.wait(60), exit=6, says=("did not answer", "SHA256SUMS")),
    "never closes": Case(always=lengths(str(WHOLE), hold=60)),
    "never closes and does not say how long it is": Case(
        always=lengths(hold=60), exit=6, says=("fell silent",)),
    "drips a document": Case(path=SUMS, always=drip(2, 0.05), exit=6, says=("the server sent", "bytes in")),
    "drips the image": Case(once=(drip(20, 0.05), drip(20, 0.05))),
    "drips the image every time": Case(always=drip(20, 0.05), exit=6, says=("the server sent", "bytes in")),
    "drips the header": Case(always=endless("HTTP/1.1 200 OK\r\nX: ", b"y", every=0.05), exit=6, says=("bytes in",)),
    "hangs up": Case(always=raw(b""), exit=6, says=("RemoteDisconnected",)),
    # Refusals.
    "500 then 200": Case(once=(status("500 Oops"),)),
    "503 on everything": Case(path=SUMS, always=status("503 Busy"), exit=6, says=("status 503",)),
    "429 with seconds": Case(once=(status("429 Slow down", "Retry-After: 1"),)),
    "429 with a date": Case(once=(status("429 Slow down", f"Retry-After: {moment(2)}"),)),
    "429 with a past date": Case(once=(status("429 Slow down", f"Retry-After: {moment(-1e8)}"),)),
    "429 with a hostile number": Case(once=(status("429 Slow down", f"Retry-After: {'9' * 17}"),)),
    "429 with a hostile date": Case(once=(status("429 Slow down", "Retry-After: Fri, 31 Dec 9999 23:59:59 -2359"),)),
    "429 for ever": Case(always=status("429 Slow down", "Retry-After: 86400"), exit=6, says=("status 429",)),
    "404": Case(path=SUMS, always=status("404 Not Found"), exit=6, says=("status 404", "may have moved")),
    "404 for the image": Case(always=status("404 Not Found"), heads=status("404 Not Found"), exit=6,
                              says=("status 404", "disk.img")),
    "404 for the signature": Case(path=SIGN, always=status("404 Not Found"), exit=6, says=("SHA256SUMS.sign",)),
    "404 for the key": Case(path=KEY, always=status("404 Not Found"), exit=6, says=("key.asc",)),
    "403": Case(always=status("403 Forbidden"), exit=6, says=("status 403",)),
    "HEAD is refused": Case(heads=status("405 Method Not Allowed"), exit=6, says=("status 405",)),
    # Redirects.
    "a redirect": Case(once=(redirect("/tiny/disk.img"),)),
    "a redirect loop": Case(always=redirect("/tiny/disk.img"), exit=6, says=("at most 10 redirects",)),
    "a redirect to a file": Case(always=redirect("file:///etc/passwd"), exit=6, says=("https all the way", "file:")),
    "a redirect to ftp": Case(always=redirect("ftp://127.0.0.1/x"), exit=6, says=("https all the way", "ftp:")),
    "a redirect to nobody": Case(always=redirect("http://127.0.0.1:1/x"), exit=6, says=("refused",)),
    "a redirect to a host without an address": Case(always=redirect("http://no-such-host.invalid/x"), exit=6,
                                                    says=("no-such-host.invalid",)),
    "a redirect with an endless body": Case(
        once=(endless("HTTP/1.1 302 Found\r\nLocation: /tiny/disk.img\r\n\r\n", b"x" * 65536),)),
    "a redirect to a broken address": Case(always=redirect("http://[::1"), exit=6, says=("https all the way",)),
    # Lengths.
    "announces more than it sends": Case(once=(lengths(str(WHOLE + 1000)),)),
    "announces less than it sends": Case(always=lengths("1000"), exit=4, says=("not the one its publisher",)),
    "a negative length": Case(always=lengths("-5")),
    "a length in words": Case(always=lengths("many")),
    "two lengths": Case(always=lengths("5", str(WHOLE)), exit=6, says=("Content-Length",)),
    "announces far more than it sends": Case(always=lengths("99999999"), exit=6, says=("too large",)),
    "HEAD announces less": Case(heads=raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")),
    "HEAD announces more": Case(heads=raw(f"HTTP/1.1 200 OK\r\nContent-Length: {WHOLE * 9}\r\n\r\n")),
    "HEAD announces nothing": Case(heads=raw("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
    "HEAD announces the impossible": Case(
        heads=raw(f"HTTP/1.1 200 OK\r\nContent-Length: {10**17}\r\n\r\n"), exit=6, says=("no image is that large",)),
    "sends without end": Case(always=endless("HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536), exit=6, says=("too large",)),
    "chunks without end": Case(always=endless(CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n"), exit=6,
                               says=("too large",)),
    "a document without end": Case(path=SUMS, always=endless("HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536), exit=6,
                                   says=("too large",)),
    "header fields without end": Case(path=SUMS, always=endless("HTTP/1.1 200 OK\r\n", b"X: y\r\n"), exit=6,
                                      says=("headers",)),
    "interim answers without end": Case(path=SUMS, always=endless("", b"HTTP/1.1 100 Continue\r\n\r\n"), exit=6,
                                        says=("bytes of header",)),
    "garbage for chunks": Case(always=chunks(b"xyzzy\r\n" * 100), exit=6, says=("was cut",)),
    "a negative chunk": Case(always=endless(CHUNKED + "-1\r\n", b"x" * 65536), exit=6, says=("too large",)),
    # Another file than it should be.
    "ignores Range": Case(once=(cut(400_000), lengths(str(WHOLE)))),
    "another file and tag in the middle": Case(
        once=(swapped(Served(body=bytes(WHOLE), etag='"two"'), 400_000),), exit=4,
        says=("not the one its publisher",)),
    "the right file and tag in the middle": Case(once=(late,)),
    "a rest of another file under another tag": Case(once=(cut(400_000), mixing)),
    "a rest of another file under the same tag": Case(once=(cut(400_000), lying)),
    "another file at every request, same tag": Case(always=lying, exit=4, says=("not the one its publisher",)),
    "another file at every request, another tag": Case(always=changing, exit=6, says=("was cut",)),
    "weak tags": Case(once=(weak,)),
    "no validators": Case(once=(unnamed,)),
    "a page for the image": Case(always=body(PAGE), exit=4, says=("not the one its publisher",)),
    "a page for the checksums": Case(path=SUMS, always=body(PAGE), exit=4, says=("web page", "log-in page")),
    "a page for the signature": Case(path=SIGN, always=body(PAGE), exit=4, says=("web page", "log-in page")),
    "a page for the key": Case(path=KEY, always=body(PAGE), exit=4, says=("web page", "key.asc")),
    "nothing for the checksums": Case(path=SUMS, always=body(b""), exit=4, says=("SHA256SUMS",)),
    "a gzip bomb for the checksums": Case(
        path=SUMS, always=body(gzip.compress(bytes(64 << 20)), "Content-Encoding: gzip"), exit=6, says=("compressed",)),
    "204": Case(always=status("204 No Content"), exit=6, says=("status 204",)),
    "half a file as a part": Case(once=(ten,)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_faulty_server(site: Site, case: str) -> None:
    told = CASES[case]
    told.arrange(site.server)
    exit_status, _, stderr, seconds = site.build(case)
    assert exit_status == told.exit, stderr
    for words in told.says:
        assert words in stderr
    if told.exit:
        assert site.server.url in stderr or PREFIX in stderr, "it does not say where"
        if any(file.stat().st_size for file in (site.kmi.cache / "partial").glob("*")):  # else it would be a first run
            site.mends()
    record("upstream", case, exit=exit_status, seconds=round(seconds, 1),
           result="right image" if exit_status == 0 else "error")  # fmt: skip


RANDOM: dict[str, Callable[[random.Random], Script]] = {
    "cut": lambda rng: cut(rng.randrange(WHOLE)),
    "stall": lambda rng: stall(rng.randrange(WHOLE)),
    "drip": lambda rng: drip(rng.randrange(1, 20), 0.05),
    "status": lambda rng: status(f"{rng.choice((408, 429, 500, 502, 503, 504))} X", f"Retry-After: {rng.random() / 9}"),
    "lie": lambda rng: lying,
    "mix": lambda rng: mixing,
    "whole": lambda rng: lengths(str(WHOLE)),
    "more": lambda rng: lengths(str(WHOLE + rng.randrange(1, 9999))),
    "noise": lambda rng: raw(CHUNKED.encode() + rng.randbytes(99)),
    "rubbish": lambda rng: raw(rng.randbytes(rng.randrange(2000))),
    "less": lambda rng: lengths(str(rng.randrange(1, WHOLE))),
}  # fmt: skip


def test_faults_at_random(product: Product, tmp_path: Path) -> None:
    """Six faults in a row, of any kind and anywhere, on the disk; then one on each document."""
    for seed, rng in seeds("upstream at random"):
        with faulty() as server:
            product.fill(server)
            kinds = [rng.choice(list(RANDOM)) for _ in range(6)]
            server.scripts[DISK] = iter([RANDOM[kind](rng) for kind in kinds])
            for path in (SUMS, SIGN, KEY):
                server.scripts[path] = iter([cut(rng.randrange(80))] if rng.random() < 0.5 else [])
            kmi = Kmi(
                folder=tmp_path / str(seed), tiny=product.tiny, base=product.base, mirrors=f"{PREFIX}={server.url}/"
            )
            kmi.folder.mkdir()
            site = Site(product=product, server=server, kmi=kmi)
            exit_status, _, stderr, seconds = site.build(", ".join(kinds))
            assert exit_status in (0, 4, 6), f"seed {seed}, {kinds}: {stderr}"
            site.mends()
        result = "right image" if exit_status == 0 else "error, and mended by a rerun"
        record("upstream", f"at random: {', '.join(kinds)}", seed=seed, exit=exit_status, seconds=round(seconds, 1),
               result=result)  # fmt: skip


def test_a_cut_run_is_gone_on_with_by_the_next(site: Site) -> None:
    for seed, rng in seeds("cut, and a new run"):
        at = rng.randrange(1, WHOLE // 5)
        site.server.log.clear()
        site.server.scripts[DISK] = itertools.chain([cut(at)], itertools.repeat(status("500 Oops")))
        exit_status, _, stderr, seconds = site.build("cut, and a new run")
        assert exit_status == 6, stderr
        site.mends()
        assert site.server.gets(DISK)[-1]["range"] == f"bytes={at}-"
        record("upstream", "cut, and a new run", seed=seed, exit=exit_status, seconds=round(seconds, 1),
               result=f"the rerun went on at byte {at}")  # fmt: skip
        for file in (*(site.kmi.cache / "blobs/sha256").iterdir(), *(site.kmi.cache / "locked").iterdir()):
            file.unlink()


def test_mirrors_in_order(site: Site, product: Product) -> None:
    """A dead one, one that is empty, one with an old image, and one that has it."""
    with faulty() as stale, faulty() as empty, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        product.fill(stale)
        stale.put(DISK, bytes(WHOLE))
        where = [f"http://127.0.0.1:{dead.getsockname()[1]}", empty.url, stale.url]
        mirrors = [f"{PREFIX}={url}/" for url in where]
        exit_status, _, stderr, seconds = site.build("no good mirror", KMI_MIRRORS=" ".join(mirrors))
        assert exit_status == 4, stderr
        for words in (*where, "refused", "status 404", "sha256:"):
            assert words in stderr
        exit_status, _, stderr, _ = site.build("no mirror", KMI_MIRRORS=" ".join(mirrors[:2]))
        assert exit_status == 6, stderr
        assert "refused" in stderr and "status 404" in stderr
        exit_status, _, stderr, _ = site.build("the last has it", KMI_MIRRORS=" ".join([*mirrors, site.kmi.mirrors]))
        assert exit_status == 0, stderr
        assert len(site.server.gets(DISK)) == 1
    record("upstream", "three bad mirrors and a good one", exit=0, seconds=round(seconds, 1), result="right image")


def test_no_way_to_the_publisher(site: Site) -> None:
    """Without a mirror: a host without an address, a dead proxy, a port that nobody listens at."""
    dead = "http://127.0.0.1:1"
    for case, environ, says in (
        ("DNS failure", {"KMI_MIRRORS": f"{PREFIX}=https://no-such-host.invalid/"}, "no-such-host.invalid"),
        ("dead proxy", {"KMI_MIRRORS": f"{PREFIX}=https://no-such-host.invalid/", "https_proxy": dead}, "https_proxy"),
        ("refused", {"KMI_MIRRORS": f"{PREFIX}={dead}/"}, "refused"),
        ("no proxy at all", {"http_proxy": "nonsense://x"}, "nonsense"),
    ):
        exit_status, _, stderr, seconds = site.build(case, **environ)
        assert exit_status == 6, stderr
        assert says in stderr
        record("upstream", case, exit=exit_status, seconds=round(seconds, 1), result="error")
    site.mends()


def test_tls(product: Product, tmp_path: Path) -> None:
    """A certificate that nobody signed, one for another host, and from https to http and back."""
    with faulty(upstream_faults.certificate(tmp_path, "IP:127.0.0.1")) as server, faulty() as plain:
        product.fill(server)
        product.fill(plain)
        kmi = Kmi(folder=tmp_path, tiny=product.tiny, base=product.base, mirrors=f"{PREFIX}={server.url}/")
        site = Site(product=product, server=server, kmi=kmi)
        patience, trusted = {"KMI_PATIENCE": "3"}, {"REQUESTS_CA_BUNDLE": str(tmp_path / "cert.pem")}
        localhost = {"KMI_MIRRORS": f"{PREFIX}={server.url.replace('127.0.0.1', 'localhost')}/"}
        for case, environ, script, expected, says in (
            ("unknown authority", {}, None, 6, "self-signed"),
            ("another host's certificate", {**trusted, **localhost}, None, 6, "not valid for 'localhost'"),
            ("https to http", trusted, redirect(plain.url + DISK), 6, "https all the way"),
            ("https to https", trusted, redirect(server.url + DISK), 0, ""),
        ):
            server.scripts[DISK] = iter([script] if script else [])
            exit_status, _, stderr, seconds = site.build(case, **patience, **environ)
            assert exit_status == expected, stderr
            assert says in stderr
            record(
                "upstream", f"TLS: {case}", exit=exit_status, seconds=round(seconds, 1), result=says or "right image"
            )
        assert plain.log == [], "plain http was asked"


def test_a_password_goes_to_nobody_else(site: Site, tmp_path: Path) -> None:
    """In the mirror's URL: sent to the mirror, not to where it redirects, and shown nowhere."""
    with faulty() as other:
        site.product.fill(other)
        site.server.scripts[DISK] = iter([redirect(other.url + DISK)])
        mirror = {"KMI_MIRRORS": f"{PREFIX}={site.server.url.replace('://', '://user:canary-pass@')}/"}
        exit_status, _, stderr, seconds = site.build("password", **mirror)
        assert exit_status == 0, stderr
        assert all("authorization" in fields for *_, fields in site.server.log)
        assert not any("authorization" in fields for *_, fields in other.log)
        site.server.always(SUMS, status("404 Not Found"))
        exit_status, _, stderr, _ = site.build("password and error", **mirror)
        assert exit_status == 6
    assert "canary" not in stderr
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert b"canary-pass" not in file.read_bytes(), file
    record("upstream", "a mirror with a password", exit=0, seconds=round(seconds, 1), result="sent to it alone")
