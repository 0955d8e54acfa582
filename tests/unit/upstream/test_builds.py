"""How the current build is found, and what a publisher's page may not do to kmi."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.errors import VerificationError
from kmi.model.spec import BuildLookup
from kmi.upstream.builds import BUILDS
from kmi.upstream.builds.listing import children
from tests.unit.upstream.served import Served

URL = "https://publisher.example/images/"


def find(kind: str, name: str, document: bytes, *, redirects: dict[str, str] | None = None) -> str:
    served = Served({URL: document}, redirects=redirects)
    return BUILDS[kind](BuildLookup(kind=kind, url=URL, name=name), served)  # type: ignore[arg-type]


def test_the_newest_folder_of_a_listing() -> None:
    page = b"""<html><a href="../">..</a> <a href='v9.9/'>v9.9/</a> <A HREF="v9.10/">v9.10/</A> <a href="v9.11">file</a>
        <a href="latest/">latest</a> <a href="https://elsewhere.example/images/v99/">x</a> <a href="/v98/">y</a>
        <a href="/images/v9.2/">absolute</a> <a href="v97/deeper/">z</a> <a href="?C=M">sort</a></html>"""
    assert find("listing", "v{build}/", page) == "9.10"
    assert sorted(children(page, URL)) == ["latest/", "v9.10/", "v9.11", "v9.2/", "v9.9/"]


def test_a_listing_may_be_escaped() -> None:
    assert find("listing", "a b{build}.img", b'<a href="a%20b12.img">') == "12"


@pytest.mark.parametrize("page", [b"", b"404", b"\0" * 1000, b'<a href="other/">', b"<html>" * 10000])
def test_a_page_without_a_build_is_refused(page: bytes) -> None:
    with pytest.raises(VerificationError) as caught:
        find("listing", "v{build}/", page)
    assert URL in str(caught.value)


@pytest.mark.parametrize("seed", [b'href="', b"href='x' ", b"href", b"href   =", b'<a href="' + b"v1/" * 99])
def test_a_page_of_a_mebibyte_takes_no_time(seed: bytes) -> None:
    began = time.monotonic()
    try:
        find("listing", "v{build}/", seed * ((1 << 20) // len(seed)))
    except VerificationError:
        pass
    assert time.monotonic() - began < 10


@given(st.binary(max_size=300))
def test_a_listing_of_anything_is_read_or_refused(page: bytes) -> None:
    try:
        assert find("listing", "v{build}/", b"<a href='v1/'>" + page)
    except VerificationError:
        pass


def test_a_redirect_names_the_build() -> None:
    to = "https://cdn.example/al2023/os-images/2023.12.20260710.0/kvm/"
    assert find("redirect", "os-images/{build}/kvm/", b"", redirects={URL: to}) == "2023.12.20260710.0"
    with pytest.raises(VerificationError):
        find("redirect", "os-images/{build}/kvm/", b"", redirects={URL: "https://cdn.example/login"})


def test_a_side_file_names_it() -> None:
    assert (
        find("side-file", "FLATCAR_VERSION_ID={build}", b"FLATCAR_VERSION=x\nFLATCAR_VERSION_ID=4230.2.4\n")
        == "4230.2.4"
    )
    pointer = b"# Latest as of ...\n20260913T163055Z/di-amd64-cloudinit-20260913T163055Z.qcow2 1234567\n"
    assert find("side-file", "{build}/di-amd64-cloudinit-{build}.qcow2", pointer) == "20260913T163055Z"
    with pytest.raises(VerificationError, match="not text"):
        find("side-file", "{build}", b"\xff\xfe1")


def test_simplestreams() -> None:
    product = "com.ubuntu.cloud:server:24.04:amd64"
    versions = {
        "20260705": {"items": {"disk1.img": {}}},
        "20260926": {"items": {"disk1.img": {}, "manifest": {}}},
        "20261001": {"items": {"manifest": {}}},
    }
    document = json.dumps({"products": {product: {"versions": versions}}}).encode()
    assert find("simplestreams", product + "/{build}/disk1.img", document) == "20260926"
    with pytest.raises(VerificationError, match="another shape"):
        find("simplestreams", "com.ubuntu.cloud:server:1.1:amd64/{build}/disk1.img", document)


def test_fedora_releases() -> None:
    rows = [{"link": f"https://f/x/Fedora-Cloud-Base-Generic-44-{build}.x86_64.qcow2"} for build in ("1.7", "1.10")]
    document = json.dumps([*rows, {"link": 3}, 4, {}]).encode()
    assert find("fedora-releases", "Fedora-Cloud-Base-Generic-44-{build}.x86_64.qcow2", document) == "1.10"


@pytest.mark.parametrize("kind", ["simplestreams", "fedora-releases"])
@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<html>",
        b"[" * 100000,
        b'{"a":' * 100000,
        b"1" * 5000,
        b"NaN",
        b'{"products": 3}',
        b'{"a":1,"a":2}',
        b"\xff",
    ],
)
def test_an_index_of_another_shape_is_refused(kind: str, document: bytes) -> None:
    with pytest.raises(VerificationError):
        find(kind, "x/{build}/y", document)
