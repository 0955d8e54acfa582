"""The client against servers that break HTTP: each ends in the right bytes or a NetworkError, and in bounded time."""

from __future__ import annotations

import gzip
import itertools
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kmi.errors import NetworkError, VerificationError
from kmi.host.http import Http
from kmi.host.pace import HEAD
from kmi.host.partial import Partial
from kmi.host.patience import Patience
from kmi.model.digest import Digest
from tests import upstream_faults as faults
from tests.upstream_faults import Script, Served, Server, Talk, faulty

BODY = bytes(range(256)) * 1024
QUICK = Patience(connect=0.4, stall=0.2, least=2000, attempts=3, pause=0.01, longest=0.2, document=5, overall=10)
WORST = 6.0
"""Seconds within which everything here must have ended, on a slow machine."""


@pytest.fixture
def server() -> Iterator[Server]:
    with faulty() as made:
        yield made


@pytest.fixture
def client() -> Iterator[Http]:
    made = Http(patience=QUICK)
    yield made
    made.close()


def got(client: Http, url: str) -> str:
    """What the error of a document says, which must come in time."""
    began = time.monotonic()
    with pytest.raises(NetworkError) as caught:
        client.get(url)
    assert time.monotonic() - began < WORST
    return f"{caught.value.what} {caught.value.got}"


def download(client: Http, url: str, dest: Path) -> bytes:
    began = time.monotonic()
    client.download(url, dest, algorithms=("sha256",), size_cap=1 << 20)
    assert time.monotonic() - began < WORST
    return dest.read_bytes()


CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BROKEN: dict[str, tuple[Script, str]] = {
    "never a word": (lambda talk: talk.wait(60), "did not answer"),
    "silence in the header": (faults.raw("HTTP/1.1 200 OK\r\nA: b", hold=60), "fell silent"),
    "silence in the body": (faults.stall(10), "fell silent"),
    "a dripped header": (faults.endless("HTTP/1.1 200 OK\r\nX: ", b"a", every=0.05), "too slow: the server sent"),
    "a dripped body": (faults.drip(5, 0.05), "too slow: the server sent"),
    "dripped chunks": (faults.endless(CHUNKED + "ffff\r\n", b"a", every=0.05), "too slow: the server sent"),
    "endless fields": (faults.endless("HTTP/1.1 200 OK\r\n", b"X: y\r\n"), "more than 100 headers"),
    "an endless field": (faults.endless("HTTP/1.1 200 OK\r\nX: ", b"y" * 1000), "more than 65536 bytes"),
    "interim answers for ever": (faults.endless("", b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n"),
                                 f"more than {HEAD} bytes"),
    "trailers for ever": (faults.endless(CHUNKED + "0\r\n", b"X: y\r\n"),
                          f"more than {HEAD} bytes"),
    "no HTTP": (faults.raw(b"\x00\xff" * 20 + b"\r\n"), "BadStatusLine"),
    "nothing": (faults.raw(b""), "RemoteDisconnected"),
    "an endless chunk size": (faults.endless(CHUNKED, b"0" * 1000),
                              "chunk size"),
    "a garbled chunk size": (faults.chunks(b"zz\r\nhello\r\n0\r\n\r\n"), "cut"),
    "chunks without an end": (faults.chunks(b"5\r\nhello\r\n"), "cut"),
    "two lengths": (faults.lengths("262144", "5"), "Content-Length"),
    "a length that is too large": (faults.lengths("262145"), "cut"),
    "a length that is too large, held": (faults.lengths("262145", hold=60), "fell silent"),
    "endless": (faults.endless("HTTP/1.1 200 OK\r\n\r\n", b"a" * 65536), "too large"),
    "endless chunks": (faults.endless(CHUNKED, (b"1000\r\n" + b"a" * 4096 + b"\r\n") * 9),
                       "too large"),
    "a negative chunk": (faults.endless(CHUNKED + "-1\r\n", b"a" * 65536),
                         "too large"),
    "a bomb": (faults.body(gzip.compress(b"\0" * (64 << 20)), "Content-Encoding: gzip"), "came compressed"),
    "a bomb in a bomb": (faults.body(gzip.compress(gzip.compress(b"\0" * (64 << 20))), "Content-Encoding: gzip, gzip"),
                         "came compressed"),
    "a page without content": (faults.status("204 No Content"), "status 204"),
    "a part that nobody asked for": (faults.status("206 Partial Content", "Content-Range: bytes 0-0/5"), "status 206"),
    "a redirect to nowhere": (faults.status("302 Found"), "status 302"),
    "a redirect to a file": (faults.redirect("file:///etc/passwd"), "file: "),
    "a redirect to ftp": (faults.redirect("ftp://127.0.0.1/x"), "ftp: "),
    "a redirect to data": (faults.redirect("data:text/plain,hello"), "data: "),
    "a redirect to no host": (faults.redirect("http:///x"), "more"),
    "a redirect to a broken address": (faults.redirect("http://[::1"), "no scheme: "),
    "a redirect to a wrong port": (faults.redirect("http://127.0.0.1:99999/"), "99999"),
    "a redirect with an endless body": (
        faults.endless("HTTP/1.1 302 Found\r\nLocation: /none\r\n\r\n", b"a" * 65536), "status 404"),
    "a redirect to itself": (faults.redirect("/x"), "more"),
    "a redirect further each time": (
        lambda talk: talk.head("302 Found", f"Location: /x?{talk.path}{'y' * 50}", length=0), "status 404"),
}  # fmt: skip
"""Of a document: what the server does every time, and what the error says."""


@pytest.mark.parametrize("case", BROKEN)
def test_a_document_from_a_broken_server(server: Server, client: Http, case: str) -> None:
    script, says = BROKEN[case]
    url = server.put("/x", BODY)
    server.scripts["/x"] = itertools.repeat(script)
    assert says in got(client, url)


@pytest.mark.parametrize(
    "script",
    [
        faults.lengths("-5"),
        faults.lengths("many"),
        faults.lengths("262144", "262144"),
        faults.lengths("262144", hold=30),
        faults.chunks(b"40000;x=y\r\n", BODY, b"\r\n0\r\nTrailer: z\r\n\r\n"),
        faults.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + BODY),
        faults.raw(b"HTTP/1.0 200 OK\r\n\r\n" + BODY),
        faults.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n" + BODY
                   + b"\r\n0\r\n\r\n"),
        faults.body(BODY, "Content-Encoding: identity"),
        faults.body(BODY, "Content-Encoding: gzip"),
    ],
)  # fmt: skip
def test_what_is_odd_but_whole_is_taken(server: Server, client: Http, tmp_path: Path, script: Script) -> None:
    url = server.put("/x.gz", BODY, script, script)
    assert client.get(url).body == BODY
    assert download(client, url, tmp_path / "p") == BODY


def test_every_request_has_a_line_of_its_own(server: Server, client: Http) -> None:
    """What comes late behind an answer would else be read as the answer to what is asked next."""

    def keeps(talk: Talk) -> None:
        talk.head(length=4)
        talk.send(b"good")
        talk.wait(0.3)  # OSError as soon as the client leaves
        left.append(talk.path)

    left: list[str] = []
    assert client.get(server.put("/a", b"", keeps)).body == b"good"
    time.sleep(0.5)
    assert left == []


def test_chunks_have_no_announced_length(server: Server, client: Http, tmp_path: Path) -> None:
    """Progress would else be told in parts of a length that is no length."""
    both = CHUNKED.replace("\r\n\r\n", "\r\nContent-Length: 7\r\n\r\n")
    url = server.put("/x", BODY, faults.raw(both.encode() + b"40000\r\n" + BODY + b"\r\n0\r\n\r\n"))
    told: list[tuple[int, int | None]] = []
    client.download(url, tmp_path / "p", algorithms=("sha256",), size_cap=1 << 20,
                    on_progress=lambda *now: told.append(now))  # fmt: skip
    assert told[-1] == (len(BODY), None)


def test_what_comes_after_the_answer_is_not_the_next_answer(server: Server, client: Http) -> None:
    smuggled = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    for after in (b"", smuggled):
        url = server.put("/a", b"", faults.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood" + after, hold=0.2))
        assert client.get(url).body == b"good"
        assert client.get(server.put("/b", b"fine")).body == b"fine"
    moved = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
    url = server.put("/a", b"", faults.raw(moved + smuggled, hold=0.2))
    assert client.get(url).body == b"fine"


@pytest.mark.parametrize(
    "script",
    [faults.cut(100_000), faults.stall(100_000), faults.drip(25, 0.05), faults.chunks(b"186a0\r\n", BODY[:100_000])],
)
def test_a_download_goes_on_after(server: Server, client: Http, tmp_path: Path, script: Script) -> None:
    url = server.put("/x", BODY, script, script)
    assert download(client, url, tmp_path / "p") == BODY
    assert len(server.gets("/x")) == 3
    assert "range" in server.gets("/x")[2]


def test_the_floor_counts_waiting_only(server: Server, client: Http, tmp_path: Path) -> None:
    """A disk here that is slower than the floor is not the server's fault."""
    slow = lambda *_: time.sleep(0.2)  # noqa: E731
    url = server.put("/x", b"a" * 9000, faults.drip(3000, 0.01))
    client.download(url, tmp_path / "p", algorithms=("sha256",), size_cap=1 << 20, on_progress=slow)
    assert len(server.gets("/x")) == 1


def test_a_server_above_the_floor_is_borne(server: Server, client: Http, tmp_path: Path) -> None:
    url = server.put("/x", BODY[:8000], faults.drip(200, 0.02))
    assert download(client, url, tmp_path / "p") == BODY[:8000]
    assert len(server.gets("/x")) == 1


def test_there_is_an_end_even_if_it_gets_on(server: Server, tmp_path: Path) -> None:
    hasty = Http(patience=Patience(stall=5, pause=0.01, attempts=99, least=1, overall=0.5, document=0.5))
    began = time.monotonic()
    url = server.put("/x", BODY)
    server.scripts["/x"] = itertools.repeat(faults.drip(100, 0.02))
    with pytest.raises(NetworkError, match="cannot fetch") as caught:
        hasty.download(url, tmp_path / "p", algorithms=("sha256",), size_cap=1 << 20)
    assert "not done in the time" in str(caught.value.got)
    server.scripts["/x"] = itertools.repeat(faults.status("503 Busy", "Retry-After: 3"))
    with pytest.raises(NetworkError):
        hasty.get(url)
    assert time.monotonic() - began < 4
    hasty.close()


@pytest.mark.parametrize(
    "wait",
    ["0.1", "9" * 18, "9" * 30, "-5", "\xff", "Mon, 10 Feb 2025 20:19:00 GMT", "Mon, 01 Jan 1 00:00:00 +2359",
     "Fri, 31 Dec 9999 23:59:59 -2359", "Fri, 31 Dec 99999 23:59:59 GMT", "Fri, 31 Dec 2030 23:59:59 +999999999999"],
)  # fmt: skip
def test_retry_after_is_bounded_whatever_it_says(server: Server, client: Http, wait: str) -> None:
    url = server.put("/x", b"hello", faults.status("429 Too Many Requests", f"Retry-After: {wait}"))
    began = time.monotonic()
    assert client.get(url).body == b"hello"
    assert time.monotonic() - began < 2


def sha256(data: bytes) -> Digest:
    import hashlib

    return Digest(algorithm="sha256", hex=hashlib.sha256(data).hexdigest())


class Wanted:
    """A check for one digest, which counts how often it was asked."""

    def __init__(self, data: bytes) -> None:
        self.digest = sha256(data)
        self.asked = 0

    def __call__(self, digests: object) -> None:
        self.asked += 1
        if digests != {"sha256": self.digest}:
            raise VerificationError("wrong", got="other bytes")


def proved(client: Http, url: str, dest: Path, wanted: Wanted) -> bytes:
    client.download(url, dest, algorithms=("sha256",), size_cap=1 << 20, check=wanted)
    return dest.read_bytes()


def test_two_files_under_one_tag_are_told_apart_by_the_digest(server: Server, client: Http, tmp_path: Path) -> None:
    """The pieces fit each other for all that the header says. Fetched in one piece it is right."""
    stale = Served(body=BODY[::-1])
    url = server.put("/x", stale.body, faults.swapped(Served(body=BODY), 1000))
    wanted = Wanted(BODY)
    assert proved(client, url, tmp_path / "p", wanted) == BODY
    assert wanted.asked == 2
    assert "range" not in server.gets("/x")[2]


def test_a_wrong_file_in_one_piece_is_not_fetched_again(server: Server, client: Http, tmp_path: Path) -> None:
    url = server.put("/x", BODY[::-1])
    with pytest.raises(VerificationError):
        proved(client, url, tmp_path / "p", Wanted(BODY))
    assert len(server.gets("/x")) == 1
    assert (tmp_path / "p").read_bytes() == b"", "no byte that proved wrong stays"


def test_pieces_that_never_fit_end(server: Server, client: Http, tmp_path: Path) -> None:
    url = server.put("/x", BODY[::-1])
    server.scripts["/x"] = itertools.repeat(faults.cut(200_000))
    with pytest.raises(VerificationError):
        proved(client, url, tmp_path / "p", Wanted(BODY))
    assert len(server.gets("/x")) == 4


@pytest.mark.parametrize("tag", ['W/"one"', "one", '"' + "x" * 9000 + '"', '"\xff"', None])
def test_what_is_no_strong_tag_is_not_sent_back(server: Server, client: Http, tmp_path: Path, tag: str | None) -> None:
    url = server.put("/x", BODY, faults.cut(1000), etag=tag)
    assert download(client, url, tmp_path / "p") == BODY
    assert server.gets("/x")[1]["if-range"] == faults.MODIFIED


def test_a_range_that_begins_elsewhere_is_not_appended(server: Server, client: Http, tmp_path: Path) -> None:
    def elsewhere(talk: Talk) -> None:
        talk.head("206 Partial Content", f"Content-Range: bytes 0-9/{len(BODY)}", length=10)
        talk.send(BODY[:10])

    url = server.put("/x", BODY, faults.cut(1000), elsewhere)
    assert download(client, url, tmp_path / "p") == BODY


def test_more_than_the_cap_is_not_left_on_the_disk(server: Server, client: Http, tmp_path: Path) -> None:
    url = server.put("/x", BODY, faults.endless("HTTP/1.1 200 OK\r\n\r\n", b"a" * 65536))
    with pytest.raises(NetworkError, match="too large"):
        download(client, url, tmp_path / "p")
    assert (tmp_path / "p").stat().st_size == 0


def mirrored(*targets: str) -> Http:
    return Http(mirrors=tuple(("https://publisher.invalid/", target + "/") for target in targets), patience=QUICK)


def test_mirrors_are_tried_in_order(server: Server, tmp_path: Path) -> None:
    client = mirrored(server.url + "/none", server.url + "/stale", server.url + "/good")
    server.put("/stale/disk", BODY[::-1])
    server.put("/good/disk", BODY)
    assert client.get("https://publisher.invalid/disk").body == BODY[::-1]
    assert client.head("https://publisher.invalid/disk").size == len(BODY)
    assert proved(client, "https://publisher.invalid/disk", tmp_path / "p", Wanted(BODY)) == BODY
    asked = [path for method, path, _ in server.log if method == "GET"]
    assert asked == ["/none/disk", "/stale/disk", "/none/disk", "/stale/disk", "/good/disk"]
    client.close()


def test_the_error_lists_what_each_mirror_said(server: Server, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = f"http://user:hunter22@127.0.0.1:{closed.getsockname()[1]}"
        client = mirrored(server.url + "/none", dead)
        with pytest.raises(NetworkError) as caught:
            client.get("https://publisher.invalid/SUMS")
    said = str(caught.value)
    assert "status 404" in said and "refused" in said
    assert said.index("/none/SUMS") < said.index("refused")
    assert "publisher.invalid" in caught.value.what
    assert "hunter22" not in said
    server.put("/stale/SUMS", b"other")
    client = mirrored(server.url + "/stale", server.url + "/none")
    with pytest.raises(VerificationError) as refused:
        proved(client, "https://publisher.invalid/SUMS", tmp_path / "p", Wanted(BODY))
    assert "other bytes" in str(refused.value) and "status 404" in str(refused.value)


def test_a_certificate_that_nobody_signed_is_final(
    client: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with faulty(faults.certificate(tmp_path, "IP:127.0.0.1")) as server:
        url = server.put("/x", b"hello")
        with pytest.raises(NetworkError) as caught:
            client.get(url)
        assert caught.value.expected == "a certificate that this system trusts, for this host"
        assert "self-signed" in str(caught.value.got)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
        assert client.get(url).body == b"hello"
        assert client.get(server.put("/y", b"", faults.redirect("/x"))).body == b"hello"
        with pytest.raises(NetworkError) as plain:
            client.get(server.put("/z", b"", faults.redirect(url.replace("https:", "http:"))))
        assert plain.value.expected == "https all the way"
        assert len(server.log) == 4
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "no such file"))
        assert "no such file" in got(client, url)


def test_a_certificate_for_another_host_is_final(client: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty(faults.certificate(tmp_path, "IP:127.0.0.2")) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
        assert "not valid for '127.0.0.1'" in got(client, server.put("/x", b"hello"))


def test_no_tls_where_tls_should_be_passes_no_judgement_on_a_certificate(server: Server, client: Http) -> None:
    url = server.put("/x", b"hello").replace("http:", "https:")
    assert "cannot fetch" in got(client, url)


def test_a_silent_handshake_is_left(client: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "cannot fetch" in got(client, f"https://127.0.0.1:{silent.getsockname()[1]}/x")


def test_a_host_without_an_address(client: Http) -> None:
    said = got(client, "http://no-such-host.invalid/x")
    assert "resol" in said or "Name or service" in said
    assert "0x" not in said


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1/", "nonsense://x/", "http://[broken/", "socks5://127.0.0.1:1"])
def test_a_proxy_that_is_not_one(client: Http, monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    for scheme in ("http", "https"):
        assert "0x" not in got(client, f"{scheme}://publisher.invalid/x")


def test_by_way_of_a_proxy_the_watch_is_kept(server: Server, client: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("https_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.put("http://publisher.invalid/x", b"hello")
    assert client.get("http://publisher.invalid/x").body == b"hello"
    server.always("http://publisher.invalid/x", faults.drip(5, 0.05))
    server.put("http://publisher.invalid/x", BODY)
    server.scripts["http://publisher.invalid/x"] = itertools.repeat(faults.drip(5, 0.05))
    assert "too slow: the server sent" in got(client, "http://publisher.invalid/x")
    server.always("publisher.invalid:443", faults.endless("HTTP/1.1 200 OK\r\n", b"X: y\r\n"))
    assert f"more than {HEAD} bytes" in got(client, "https://publisher.invalid/x")
    server.always("publisher.invalid:443", faults.status("407 Proxy Authentication Required"))
    assert "407" in got(client, "https://publisher.invalid/x")


def test_a_partial_file_of_zeros_after_a_power_cut_is_fetched_again(
    server: Server, client: Http, tmp_path: Path
) -> None:
    url = server.put("/x", BODY)
    with Partial(tmp_path / "p", ("sha256",)) as partial:
        partial.restart('"one"')
        partial.write(bytes(len(BODY)))
    assert proved(client, url, tmp_path / "p", Wanted(BODY)) == BODY
