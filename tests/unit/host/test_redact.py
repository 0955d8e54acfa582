"""What is blanked, and what is left alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.host import redact as blanking
from kmi.host.redact import MARK, know, know_login, redact, redacted
from kmi.host.run import run


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blanking, "_KNOWN", set())


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("GET https://bob:hunter2@mirror.test/a/b: 404", "hunter2"),
        ("proxy http://bob:p@ss@proxy.test:3128", "p@ss"),
        ("https://ghp_abcdefghijk@host.test/x", "ghp_abcdefghijk"),
        ("Authorization: Basic Ym9iOmh1bnRlcjI=", "Ym9iOmh1bnRlcjI="),
        ('{"authorization": "Bearer abc.def"}', "abc.def"),
        ("Proxy-Authorization: Negotiate abcdef", "abcdef"),
        ("curl said Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", "eyJhbGciOiJIUzI1NiJ9"),
        ("https://store.test/blob?X-Amz-Signature=0123abcd&b=1", "0123abcd"),
        ("https://store.test/blob?a=1&sig=0123%2Fabcd", "0123%2Fabcd"),
        ("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nQUJD\nREVG\n-----END ENCRYPTED", "QUJD"),
        ("-----BEGIN EC PRIVATE KEY-----\nQUJD\nREVG", "REVG"),
    ],
)
def test_secret_shapes(text: str, secret: str) -> None:
    assert secret not in redact(text)
    assert MARK in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "docker://127.0.0.1:5050/kmi/debian@sha256:" + "a" * 64,
        "https://mirror.test/a/b@c?x=1",
        'WWW-Authenticate: Bearer realm="https://auth.test/token",service="registry.test"',
        "ssh debian@127.0.0.1",
        "-----BEGIN PUBLIC KEY-----\nQUJD\n-----END PUBLIC KEY-----",
        "a basic test of the bearer",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "secret", ["s3cret value", 'quo"te\\back', "pa'ss word", "ümläut", "a/b+c=d&e", "first\nsecond"]
)
def test_known_words_go_in_every_writing(secret: str) -> None:
    know(secret)
    assert redact(f"x {secret} y") == f"x {MARK} y"
    for writing in (json.dumps(secret)[1:-1], quote(secret, safe=""), quote(secret)):
        assert secret not in redact(writing) and MARK in redact(writing), writing


def test_a_login_goes_as_http_writes_it() -> None:
    know_login("bob", "hunter22")
    assert redact(base64.b64encode(b"bob:hunter22").decode()) == MARK
    assert redact("bob has hunter22") == f"bob has {MARK}"


def test_a_word_that_begins_another_spares_nothing() -> None:
    know("abcdef", "abcdefghi")
    assert redact("abcdefghi abcdef") == f"{MARK} {MARK}"


def test_short_and_empty_words_do_not_blank_the_text() -> None:
    know("", "a", "abc")
    assert redact("abc a") == "abc a"


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COSIGN_PASSWORD", "from the environment")
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_4711")
    monkeypatch.setenv("https_proxy", "http://bob:hunter22@proxy.test:3128/")
    monkeypatch.setenv("SOME_TOKEN_FILE", "/run/token")
    monkeypatch.setenv("USE_SECRET_STORE", "true")
    text = redact("from the environment, ghs_4711, hunter22, /run/token, true")
    assert text == f"{MARK}, {MARK}, {MARK}, /run/token, true"


def test_values_of_any_depth() -> None:
    know("canary-4711")
    value = {"canary-4711": ["canary-4711", 1, None, {"a": ("x canary-4711",)}]}
    assert redacted(value) == {"canary-4711": [MARK, 1, None, {"a": [f"x {MARK}"]}]}


def test_programs_write_no_known_word_but_what_they_answer_is_data(tmp_path: Path) -> None:
    know("canary-4711")
    lines: list[str] = []
    result = run(["echo", "canary-4711"], log=tmp_path / "log", on_line=lines.append)
    assert result.stdout == "canary-4711\n"
    assert lines == [MARK]
    assert "canary-4711" not in (tmp_path / "log").read_text()


@given(st.text(), st.text(min_size=4), st.text())
def test_it_never_fails_and_never_lets_a_known_word_through(before: str, secret: str, after: str) -> None:
    know(secret)
    if len(secret.strip()) >= 4 and secret not in MARK:
        assert secret not in redact(before + secret + after).replace(MARK, "\0")
