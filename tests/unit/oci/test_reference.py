from __future__ import annotations

from pathlib import Path

import pytest

from kmi.errors import UsageError
from kmi.model.digest import Digest
from kmi.oci.reference import layout_path, parse

HEX = "a" * 64
DIGEST = Digest(algorithm="sha256", hex=HEX)


@pytest.mark.parametrize(
    ("text", "host", "path", "tag", "digest"),
    [
        ("ghcr.io/org/debian:12", "ghcr.io", "org/debian", "12", None),
        ("127.0.0.1:5050/kmi/debian", "127.0.0.1:5050", "kmi/debian", None, None),
        ("localhost/a", "localhost", "a", None, None),
        ("[::1]:5000/a/b__c/d.e-f:T_1.x", "[::1]:5000", "a/b__c/d.e-f", "T_1.x", None),
        (f"quay.io/x/y@sha256:{HEX}", "quay.io", "x/y", None, DIGEST),
        (f"quay.io/x/y:1@sha256:{HEX}", "quay.io", "x/y", "1", DIGEST),
    ],
)
def test_reads_and_writes_every_form(text: str, host: str, path: str, tag: str | None, digest: Digest | None) -> None:
    reference = parse(text)
    assert (reference.host, reference.path, reference.tag, reference.digest) == (host, path, tag, digest)
    assert reference.name == f"{host}/{path}"
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "debian",
        "library/debian:12",
        "ghcr.io/",
        "ghcr.io/Org/x",
        "ghcr.io/a//b",
        "ghcr.io/a/../b",
        "ghcr.io/a_-b",
        "ghcr.io/a:",
        "ghcr.io/a:-x",
        "ghcr.io/a:" + "t" * 129,
        "ghcr.io/a@sha256:abc",
        "ghcr.io/a@",
        f"ghcr.io/a@sha256:{'A' * 64}",
        "-x.io/a",
        "ghcr.io:port/a",
        "ghcr.io/a b",
        "ghcr.io/a\n",
        "docker://ghcr.io/a",
        "ghcr.io/" + "a" * 250,
    ],
)
def test_refuses_what_is_no_reference(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_tells_what_to_write_instead() -> None:
    for text, hint in (
        ("debian:12", "docker.io/library/debian:12"),
        ("docker://ghcr.io/a", "ghcr.io/a"),
        ("ghcr.io/Org/X", "ghcr.io/org/x"),
    ):
        with pytest.raises(UsageError) as refused:
            parse(text)
        assert refused.value.hint == f"write {hint}"


def test_pins_and_tags() -> None:
    reference = parse("ghcr.io/org/debian:12")
    assert str(reference.pinned(DIGEST)) == f"ghcr.io/org/debian@sha256:{HEX}"
    assert str(reference.pinned(DIGEST).tagged("13")) == "ghcr.io/org/debian:13"
    with pytest.raises(UsageError):
        reference.tagged("no tag")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("127.0.0.1:5050/a", True),
        ("127.9.9.9/a", True),
        ("localhost:80/a", True),
        ("[::1]:5000/a", True),
        ("[::1]/a", True),
        ("ghcr.io/a", False),
        ("127.0.0.1.example.org/a", False),
        ("10.0.0.1:5000/a", False),
    ],
)
def test_plain_http_is_for_loopback_only(text: str, answer: bool) -> None:
    assert parse(text).loopback is answer


def test_knows_a_layout_from_a_reference(tmp_path: Path) -> None:
    assert layout_path(str(tmp_path)) is None
    (tmp_path / "oci-layout").write_text("{}")
    assert layout_path(str(tmp_path)) == tmp_path
    assert layout_path("oci:some/where") == Path("some/where")
    assert layout_path("ghcr.io/org/x:1") is None


@pytest.mark.parametrize("text", ["u:secret@host.example/x", "http://u:secret@host.example/x:1", "secret@h.example/x"])
def test_a_login_in_a_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="login does not stand in a reference") as caught:
        parse(text)
    assert "secret" not in str(caught.value)
