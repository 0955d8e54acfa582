"""Where requests may go, and who gets the user's passwords: nobody by accident."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from kmi.errors import NetworkError
from kmi.host import route
from kmi.host.http import Http
from kmi.host.patience import Patience
from tests import upstream_faults as faults
from tests.upstream_faults import faulty

NETRC = """
machine named.example login me password canary-named
machine localhost login me password canary-localhost
default login me password canary-default
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose .netrc has a password for everybody."""
    (tmp_path / ".netrc").write_text(NETRC)
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    return tmp_path


NAMED = ("me", "canary-named")


@pytest.mark.parametrize(
    ("first", "at", "pair"),
    [
        ("https://named.example/a", "https://named.example/a", NAMED),
        ("https://named.example/a", "https://NAMED.example/b", NAMED),
        ("https://named.example/a", "http://named.example/a", None),
        ("http://named.example/a", "http://named.example/a", None),
        ("https://named.example/a", "https://named.example:8443/a", None),
        ("https://named.example/a", "https://cdn.named.example/a", None),
        ("https://other.example/a", "https://other.example/a", None),
        ("https://other.example/a", "https://named.example/a", None),
        ("https://default/a", "https://default/a", None),
        ("https://u:p%40w@named.example/a", "https://named.example/b", ("u", "p@w")),
        ("http://u:pw@mirror.example/a", "http://mirror.example/b", ("u", "pw")),
        ("http://u:pw@mirror.example/a", "http://other.example/b", None),
        ("https://other.example/a", "https://evil:pw@other.example/a", None),
        ("https://[::1/a", "https://[::1/a", None),
        ("https://a:99999/", "https://a:99999/", None),
        ("https:///a", "https:///a", None),
    ],
)
def test_credentials_are_for_the_host_that_was_named(first: str, at: str, pair: tuple[str, str] | None) -> None:
    assert route.credentials(first, at) == pair


def test_the_variable_names_another_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "other").write_text("machine x.example login a password b")
    monkeypatch.setenv("NETRC", str(home / "other"))
    assert route.credentials("https://x.example/", "https://x.example/") == ("a", "b")
    assert route.credentials("https://named.example/", "https://named.example/") is None


@pytest.mark.parametrize("text", ["machine", "\x00", "machine x login", "\udcff"])
def test_a_broken_netrc_has_nothing(home: Path, text: str) -> None:
    (home / ".netrc").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert route.credentials("https://named.example/", "https://named.example/") is None


def test_on_the_line_nothing_goes_to_a_host_that_is_not_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """requests of itself would send the default to every host, also to the one a redirect leads to."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(home / "cert.pem"))
    client = Http(patience=Patience(connect=5, stall=5, attempts=2, pause=0.1))
    with faulty(faults.certificate(home, "IP:127.0.0.1,DNS:localhost")) as server:
        named = server.url.replace("127.0.0.1", "localhost")
        server.put("/end", b"hello")
        server.put("/cookie", b"", faults.status("302 Found", "Location: /end", "Set-Cookie: a=canary-cookie; Path=/"))
        for start, to, sent in (
            (server.url, server.url, 0),
            (server.url, named, 0),
            (named, server.url, 1),
            (named, named, 2),
        ):
            server.log.clear()
            assert client.get(start + server.put("/start", b"", faults.redirect(f"{to}/end")).removeprefix(server.url))
            logins = [fields["authorization"] for *_, fields in server.log if "authorization" in fields]
            assert logins == ["Basic " + base64.b64encode(b"me:canary-localhost").decode()] * sent
        server.log.clear()
        assert client.get(server.url + "/cookie").body == b"hello"
        assert not any("cookie" in fields for *_, fields in server.log)
    client.close()


@pytest.mark.parametrize("at", ["https://x/", "https://elsewhere.example/"])
def test_https_may_go_anywhere_by_https(at: str) -> None:
    route.require("https://example.org/a", at, plain=False)


@pytest.mark.parametrize(
    "at", ["http://example.org/a", "file:///etc/passwd", "ftp://x/", "", "x", "https//x", "http://[::1"]
)
def test_and_nowhere_else(at: str) -> None:
    with pytest.raises(NetworkError) as caught:
        route.require("https://example.org/a", at, plain=False)
    assert caught.value.expected == "https all the way"


def test_plain_http_is_for_those_who_ask_for_it() -> None:
    assert route.plain("https://a/", "HTTP://mirror/")
    assert not route.plain("https://a/", "https://b/")
    route.require("http://example.org/a", "http://cdn.example.net/a", plain=True)
    with pytest.raises(NetworkError):
        route.require("http://example.org/a", "file:///etc/passwd", plain=True)


def test_a_redirect_is_relative_to_where_it_was_met() -> None:
    assert route.target("https://a/b/c", "../d") == "https://a/d"
    assert route.target("https://a/b", "//c/d") == "https://c/d"
    assert route.target("https://a/b", "/d\xc3\xbc") == "https://a/dü"
    assert route.target("https://a/b", "/d\xfc") == "https://a/dü"
    assert route.target("https://a/b", "http://[::1") == "http://[::1"


def test_passwords_are_not_shown() -> None:
    assert route.shown("https://user:canary@host/a") == "https://***@host/a"
