"""The client against a real server on loopback that cuts, refuses, redirects and changes files."""

from __future__ import annotations

import errno
import hashlib
import json
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from kmi.errors import HostError, NetworkError
from kmi.host import headers, wire
from kmi.host.http import Http
from kmi.host.partial import Partial, discard
from kmi.host.patience import Patience
from tests.serving import Fault, File, Upstream, serving

BODY = bytes(range(256)) * 4096
QUICK = Patience(connect=2, stall=0.5, attempts=3, pause=0.01, longest=0.3)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serving() as server:
        yield server


@pytest.fixture
def client() -> Iterator[Http]:
    made = Http(patience=QUICK)
    yield made
    made.close()


def fetch(client: Http, url: str, dest: Path, **options: object) -> None:
    digests = client.download(url, dest, algorithms=("sha256", "sha512"), size_cap=1 << 30, **options)  # type: ignore[arg-type]
    content = dest.read_bytes()
    assert {name: digest.hex for name, digest in digests.items()} == {
        "sha256": hashlib.sha256(content).hexdigest(),
        "sha512": hashlib.sha512(content).hexdigest(),
    }


def test_a_document_comes_with_its_dates_and_a_user_agent(upstream: Upstream, client: Http) -> None:
    url = upstream.put("/SUMS", b"hello")
    document = client.get(url)
    assert document.body == b"hello"
    assert document.last_modified == datetime(2025, 2, 10, 20, 19, tzinfo=UTC)
    assert upstream.requests[0].headers["User-Agent"].startswith("kmi/")


def test_head_tells_the_size_without_the_body(upstream: Upstream, client: Http) -> None:
    head = client.head(upstream.put("/disk", BODY))
    assert (head.size, head.last_modified) == (len(BODY), datetime(2025, 2, 10, 20, 19, tzinfo=UTC))
    assert upstream.requests[0].method == "HEAD"


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 408])
def test_a_passing_failure_is_tried_again(upstream: Upstream, client: Http, status: int) -> None:
    url = upstream.put("/SUMS", b"hello", Fault(status=status), Fault(status=status))
    assert client.get(url).body == b"hello"
    assert len(upstream.gets("/SUMS")) == 3


@pytest.mark.parametrize("status", [403, 404, 410, 401])
def test_a_refusal_is_final(upstream: Upstream, client: Http, status: int) -> None:
    url = upstream.put("/SUMS", b"hello", Fault(status=status))
    with pytest.raises(NetworkError) as caught:
        client.get(url)
    assert f"status {status}" in str(caught.value.got)
    assert caught.value.where == url
    assert len(upstream.gets("/SUMS")) == 1


def test_it_gives_up_after_its_attempts(upstream: Upstream, client: Http) -> None:
    url = upstream.put("/SUMS", b"hello", *[Fault(status=500)] * 9)
    with pytest.raises(NetworkError, match="cannot fetch"):
        client.get(url)
    assert len(upstream.gets("/SUMS")) == QUICK.attempts


def test_retry_after_is_waited_for_up_to_the_cap(upstream: Upstream, client: Http) -> None:
    url = upstream.put("/SUMS", b"hello", Fault(status=429, headers={"Retry-After": "86400"}))
    began = time.monotonic()
    assert client.get(url).body == b"hello"
    assert QUICK.longest <= time.monotonic() - began < 3


def test_retry_after_is_a_number_or_a_date() -> None:
    assert headers.retry_after({"Retry-After": " 7 "}) == 7
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (headers.retry_after({"Retry-After": in_a_minute}) or 0) <= 60
    assert headers.retry_after({"Retry-After": "soon"}) is None
    assert headers.retry_after({}) is None


def test_a_document_that_was_cut_is_fetched_again(upstream: Upstream, client: Http) -> None:
    url = upstream.put("/SUMS", BODY, Fault(cut=1000), Fault(cut=5000, chunked=True))
    assert client.get(url).body == BODY
    assert len(upstream.gets("/SUMS")) == 3


@pytest.mark.parametrize("chunked", [False, True])
def test_a_document_over_its_limit_is_refused(upstream: Upstream, client: Http, chunked: bool) -> None:
    url = upstream.put("/SUMS", BODY, Fault(chunked=chunked))
    with pytest.raises(NetworkError, match="too large"):
        client.get(url, limit=len(BODY) - 1)
    assert len(upstream.gets("/SUMS")) == 1


def test_a_redirect_is_followed_and_counted(upstream: Upstream, client: Http) -> None:
    upstream.put("/real", b"hello")
    url = upstream.put("/moving", b"", Fault(status=302, headers={"Location": "/real"}))
    assert client.get(url).body == b"hello"
    loop = upstream.put("/loop", b"", *[Fault(status=301, headers={"Location": "/loop"})] * 20)
    with pytest.raises(NetworkError) as caught:
        client.get(loop)
    assert caught.value.expected == "at most 10 redirects"


def test_a_redirect_to_a_local_file_is_refused(upstream: Upstream, client: Http) -> None:
    url = upstream.put("/SUMS", b"", Fault(status=302, headers={"Location": "file:///etc/passwd"}))
    with pytest.raises(NetworkError) as caught:
        client.get(url)
    assert caught.value.expected == "https all the way"


def test_a_mirror_stands_for_an_https_server(upstream: Upstream) -> None:
    upstream.put("/pub/SUMS", b"hello")
    client = Http(mirrors=(("https://publisher.invalid/", upstream.url + "/pub/"),), patience=QUICK)
    document = client.get("https://publisher.invalid/SUMS")
    client.close()
    assert document.body == b"hello"


def test_nobody_at_home_is_a_network_error(client: Http) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(NetworkError) as caught:
        client.get(f"http://127.0.0.1:{port}/SUMS")
    assert "refused" in str(caught.value.got)
    assert "0x" not in str(caught.value.got), "an object's address tells people nothing"


def test_a_silent_server_is_left(client: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(NetworkError):
            client.get(f"http://127.0.0.1:{silent.getsockname()[1]}/SUMS")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("url", ["ftp://example.org/a", "http://", "http://[::1/a", "/etc/passwd"])
def test_a_url_that_cannot_be_asked_for(client: Http, url: str) -> None:
    with pytest.raises(NetworkError):
        client.get(url)


def test_a_download_says_how_far_it_is(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    url = upstream.put("/disk", BODY)
    fetch(client, url, tmp_path / "p", on_progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "p").read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)


def test_a_cut_download_goes_on_where_it_was(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    url = upstream.put("/disk", BODY, Fault(cut=300_000), Fault(cut=200_000))
    fetch(client, url, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == BODY
    first, second, third = upstream.gets("/disk")
    assert "Range" not in first.headers
    assert (second.headers["Range"], second.headers["If-Range"]) == ("bytes=300000-", '"one"')
    assert third.headers["Range"] == "bytes=500000-"
    assert first.sent + second.sent + third.sent == len(BODY), "no byte came twice"


def test_another_process_goes_on(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    url = upstream.put("/disk", BODY, *[Fault(cut=100_000)] * QUICK.attempts)
    with pytest.raises(NetworkError, match="was cut"):
        fetch(client, url, tmp_path / "p")
    later = Http(patience=QUICK)
    fetch(later, url, tmp_path / "p")
    later.close()
    assert (tmp_path / "p").read_bytes() == BODY
    assert upstream.gets("/disk")[-1].headers["Range"] == "bytes=300000-"


def test_a_date_alone_is_enough_to_go_on(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    url = upstream.put("/disk", BODY, Fault(cut=1000), etag='W/"weak"')
    fetch(client, url, tmp_path / "p")
    assert upstream.gets("/disk")[1].headers["If-Range"] == "Mon, 10 Feb 2025 20:19:00 GMT"
    assert (tmp_path / "p").read_bytes() == BODY


@pytest.mark.parametrize(
    "options", [{"ranges": False}, {"etag": None, "modified": None}, {"etag": 'W/"weak"', "modified": None}]
)
def test_a_server_that_cannot_resume_starts_afresh(
    upstream: Upstream, client: Http, tmp_path: Path, options: dict[str, object]
) -> None:
    url = upstream.put("/disk", BODY, Fault(cut=300_000), **options)
    fetch(client, url, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == BODY
    assert upstream.gets("/disk")[1].sent == len(BODY)


def test_a_file_that_changed_meanwhile_is_fetched_whole(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    other = File(body=BODY[::-1] + b"more", etag='"two"')
    url = upstream.put("/disk", BODY, Fault(cut=300_000, then=other))
    fetch(client, url, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == other.body
    assert upstream.gets("/disk")[1].sent == len(other.body)


def test_a_server_that_mixes_two_versions_is_seen_through(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    other = File(body=BODY[::-1], etag='"two"')
    url = upstream.put("/disk", BODY, Fault(cut=300_000, then=other), Fault(ignore_if_range=True))
    fetch(client, url, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == other.body


def test_a_file_that_had_come_whole_is_not_fetched_again(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    url = upstream.put("/disk", BODY)
    fetch(client, url, tmp_path / "p")
    fetch(client, url, tmp_path / "p")
    assert [request.sent for request in upstream.gets("/disk")] == [len(BODY), 0]


def test_a_partial_file_longer_than_the_real_one_starts_afresh(
    upstream: Upstream, client: Http, tmp_path: Path
) -> None:
    url = upstream.put("/disk", BODY)
    fetch(client, url, tmp_path / "p")
    with (tmp_path / "p").open("ab") as file:
        file.write(b"rubbish")
    fetch(client, url, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == BODY


def test_a_partial_file_of_unknown_origin_is_not_used(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b"planted")
    (tmp_path / "p.validator").write_text("not json")
    fetch(client, upstream.put("/disk", BODY), tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == BODY


def test_a_chunked_download_that_was_cut_goes_on(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    url = upstream.put("/disk", BODY, Fault(cut=100_000, chunked=True), Fault(chunked=True))
    fetch(client, url, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == BODY


def test_bytes_are_kept_as_they_are_served(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    """Some servers label an image.gz ``Content-Encoding: gzip``; its checksum is over the file as it is served."""
    url = upstream.put("/disk.gz", b"\x1f\x8bnot really", Fault(headers={"Content-Encoding": "gzip"}))
    fetch(client, url, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == b"\x1f\x8bnot really"


@pytest.mark.parametrize("chunked", [False, True])
def test_endless_data_ends_at_the_cap(upstream: Upstream, client: Http, tmp_path: Path, chunked: bool) -> None:
    url = upstream.put("/disk", BODY, Fault(chunked=chunked))
    with pytest.raises(NetworkError, match="too large"):
        client.download(url, tmp_path / "p", algorithms=("sha256",), size_cap=500_000)
    assert (tmp_path / "p").stat().st_size < 500_000 + wire.CHUNK + 1
    assert len(upstream.gets("/disk")) == 1


def test_progress_renews_patience(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    body = BODY * 8
    url = upstream.put("/disk", body, *[Fault(cut=1_200_000)] * 6)
    fetch(client, url, tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == body
    assert len(upstream.gets("/disk")) > QUICK.attempts


def test_a_file_that_changes_for_ever_is_given_up(upstream: Upstream, client: Http, tmp_path: Path) -> None:
    """The same mebibyte again is no progress."""
    versions = [File(body=BODY * 8, etag=f'"{number}"') for number in range(9)]
    url = upstream.put("/disk", BODY * 8, *[Fault(cut=1_200_000, then=version) for version in versions])
    with pytest.raises(NetworkError):
        fetch(client, url, tmp_path / "p")
    assert len(upstream.gets("/disk")) == QUICK.attempts


def test_a_full_disk_names_the_way_out(upstream: Upstream, client: Http) -> None:
    full = Path("/dev/full")
    with pytest.raises(HostError) as caught, Partial(Path("/dev/null"), ("sha256",)) as partial:
        partial._file.close()
        partial._file = full.open("wb", buffering=0)
        partial.write(b"x")
    assert caught.value.exit_code == 7
    assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == errno.ENOSPC
    assert "--cache" in (caught.value.hint or "")


def test_the_validator_is_forgotten_before_other_bytes_come(tmp_path: Path) -> None:
    path = tmp_path / "p"
    with Partial(path, ("sha256",)) as partial:
        partial.restart('"one"')
        partial.write(b"abc")
    with Partial(path, ("sha256",)) as again:
        assert (again.offset, again.validator) == (3, '"one"')
        assert again.digests()["sha256"].hex == hashlib.sha256(b"abc").hexdigest()
        again.restart(None)
        assert path.stat().st_size == 0
    assert not (tmp_path / "p.validator").exists()
    path.with_name("p.validator").write_text(json.dumps({"validator": '"one"\r\nX: y'}))
    with Partial(path, ("sha256",)) as forged:
        assert forged.validator is None
    discard(path)
    assert not path.exists()
