"""What tools said of registries that failed, read. The words are skopeo 1.9.3's and cosign 3.1.1's own."""

from __future__ import annotations

import pytest

from kmi.oci.trouble import Kind, hint, kind, request, shortened

HOST = "127.0.0.1:42827"
NEW = f"initiating layer upload to /v2/x9/blobs/uploads/ in {HOST}: "
ODD = "received unexpected HTTP status: "
UPLOAD = f"http://{HOST}/v2/x3/blobs/uploads/2ce81770"
COPY = "copying image 1/1 from manifest list: "


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("pinging container registry r.test: invalid status code from registry 503 (Service Unavailable)", "broken"),
        (f"{COPY}writing blob: uploading layer chunked: {ODD}500 Internal Server Error", "broken"),
        (f'{COPY}writing blob: Patch "{UPLOAD}?_state=a": EOF', "broken"),
        (f"{COPY}uploading manifest sha256:7 to {HOST}/x7: manifest blob unknown: blob unknown to registry", "broken"),
        (f'pinging: Get "http://{HOST}/v2/": dial tcp {HOST}: connect: connection refused', "broken"),
        (f"{COPY}{NEW}toomanyrequests: slow down", "busy"),
        (f"{COPY}writing blob: uploading layer chunked: unauthorized: authentication required", "login"),
        ("reading manifest 12 in r.test/x: unauthorized: authentication required", "login"),
        ("unable to retrieve auth token: invalid username/password: unauthorized: no", "login"),
        (f"{COPY}writing blob: initiating layer upload to /v2/x/ in r.test: denied: requested access", "denied"),
        ("denied: adding 3 GiB of storage resource would exceed the quota of 10 GiB", "full"),
        (f"{COPY}uploading layer to {UPLOAD}: {ODD}507 Insufficient Storage", "full"),
        ("reading manifest 12 in r.test/x: manifest unknown: manifest unknown", "absent"),
        ("reading manifest 12 in r.test/x: name unknown: repository name not known to registry", "absent"),
        ("ran out of time: no byte moved for 300 s", "silent"),
        (f'GET http://{HOST}/v2/x/manifests/sha256-7: context deadline exceeded', "silent"),
        (f"GET http://{HOST}/v2/x/manifests/sha256-7: UNAUTHORIZED: authentication required", "login"),
        (f"POST http://{HOST}/v2/x/blobs/uploads/: unexpected status code 503 Service Unavailable", "broken"),
        ("GET https://r.test/v2/denied/quota/manifests/unauthorized: strange", "other"),
        ("x509: certificate signed by unknown authority", "other"),
    ],
)  # fmt: skip
def test_kinds(said: str, expected: str) -> None:
    assert kind(said) == Kind(expected)


ASKED = (
    f"GET http://{HOST}/v2/",
    f"POST http://{HOST}/v2/x/blobs/uploads/",
    f"PATCH {UPLOAD}?_state=a",
    f"HEAD {UPLOAD}",
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f'{COPY}writing blob: Patch "{UPLOAD}?_state=a": EOF', f"PATCH {UPLOAD}"),
        (f"GET http://{HOST}/v2/x/manifests/sha256-7: UNAUTHORIZED: x", f"GET http://{HOST}/v2/x/manifests/sha256-7"),
        (f"signing: POST http://{HOST}/v2/x/blobs/uploads/: unexpected", f"POST http://{HOST}/v2/x/blobs/uploads/"),
        (f"{COPY}writing blob: uploading layer chunked: received unexpected HTTP status: 500", f"PATCH {UPLOAD}"),
        (f"{COPY}initiating layer upload to /v2/x/ in {HOST}: denied", f"POST http://{HOST}/v2/x/blobs/uploads/"),
        ("ran out of time: no byte moved for 300 s", f"HEAD {UPLOAD}"),
    ],
)
def test_the_request_is_named(said: str, expected: str) -> None:
    assert request(said, ASKED) == expected


def test_no_request_where_none_was_made() -> None:
    assert request("no such host") is None


def test_the_state_of_an_upload_is_left_out() -> None:
    assert shortened(f'Patch "{UPLOAD}?_state=abc": EOF') == f'Patch "{UPLOAD}": EOF'


@pytest.mark.parametrize("one", Kind)
def test_every_kind_has_a_hint(one: Kind) -> None:
    assert len(hint(one, "r.test", "there is no login in x")) > 20
