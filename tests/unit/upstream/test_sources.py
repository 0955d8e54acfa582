"""Each kind of source on a document of its shape, and what it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from kmi.errors import KmiError, VerificationError
from kmi.model.spec import BuildLookup, CloudImage, Trust
from kmi.upstream.located import Located
from kmi.upstream.sources import SOURCES
from tests.unit.upstream.served import NOW, Served

SUMS, A, B = "https://p.example/SUMS", "a1" * 32, "b2" * 32


def locate(kind: str, document: bytes, url: str, **changes: Any) -> Located:
    given = {"algorithm": "sha256", "format": "qcow2", "checksums": SUMS, "trust": Trust(kind="tls-only")} | changes
    served = Served({SUMS: document})
    return SOURCES[kind](CloudImage(kind=kind, url=url, **given), http=served, prove=served.prove)  # type: ignore[arg-type]


def test_a_fixed_name() -> None:
    found = locate("checksum-file", f"{A}  disk-1.qcow2\n".encode(), "https://p.example/d/disk-1.qcow2")
    assert (found.url, found.digest.hex, found.build) == ("https://p.example/d/disk-1.qcow2", A, None)
    assert (found.size, found.released_at) == (7, NOW)


def test_a_moving_name_leads_to_the_file_with_the_same_digest() -> None:
    text = f"{A}  d-latest.qcow2\n{B}  d-9.9.qcow2\n{A}  d-9.8.qcow2\n{A}  e-9.9.qcow2\n"
    lookup = BuildLookup(kind="same-digest", name="d-{build}.qcow2")
    found = locate("checksum-file", text.encode(), "https://p.example/d/d-latest.qcow2", build=lookup)
    assert (found.url, found.build, found.digest.hex) == ("https://p.example/d/d-9.8.qcow2", "9.8", A)
    with pytest.raises(VerificationError, match="names no build"):
        locate("checksum-file", f"{A}  d-latest.qcow2\n".encode(), "https://p.example/d-latest.qcow2", build=lookup)


def test_sections_and_bare_digests() -> None:
    long = "c3" * 64
    sections = f"# MD5 HASH\n{'d' * 32}  disk\n# SHA1 HASH\n{'e' * 40}  disk\n# SHA512 HASH\n{long}  disk\n".encode()
    url = "https://p.example/disk"
    assert locate("checksum-file", sections, url, shape="sectioned", algorithm="sha512").digest.hex == long
    assert (
        locate("checksum-file", f"{long.upper()}\n".encode(), url, shape="bare", algorithm="sha512").digest.hex == long
    )
    for bad in (b"", f"{long}  disk\n".encode(), f"{long}\n{long}\n".encode(), long[:-1].encode(), b"<html>"):
        with pytest.raises(VerificationError):
            locate("checksum-file", bad, url, shape="bare", algorithm="sha512")
    for bad in (
        sections + sections,
        sections.replace(b"# SHA512", b"# SHA256"),
        sections.replace(b"  disk", b"  disc"),
    ):
        with pytest.raises(VerificationError):
            locate("checksum-file", bad, url, shape="sectioned", algorithm="sha512")


def debian(**changes: Any) -> bytes:
    digest = base64.b64encode(hashlib.sha512(b"disk").digest()).decode().rstrip("=")
    given = {
        "digest": f"sha512:{digest}",
        "version": "20250210-2019",
        "ref": "bookworm/20250210-2019/d-20250210-2019.qcow2",
    }
    given |= changes

    def upload(form: str) -> dict[str, Any]:
        return {
            "kind": "Upload",
            "metadata": {
                "annotations": {"cloud.debian.org/digest": given["digest"]},
                "labels": {"cloud.debian.org/version": given["version"], "upload.cloud.debian.org/image-format": form},
            },
            "data": {"ref": given["ref"]},
        }

    return json.dumps({"items": [{"kind": "Build"}, upload("raw"), upload("qcow2")]}).encode()


DEBIAN = "https://cloud.debian.org/images/cloud/bookworm/{build}/d-{build}.qcow2"


def test_debian_gives_build_and_digest() -> None:
    found = locate("debian-json", debian(), DEBIAN, algorithm="sha512")
    assert found.url == "https://cloud.debian.org/images/cloud/bookworm/20250210-2019/d-20250210-2019.qcow2"
    assert (found.build, found.digest.hex) == ("20250210-2019", hashlib.sha512(b"disk").hexdigest())


@pytest.mark.parametrize(
    "document",
    [
        debian(ref="bookworm/20250210-2019/other.qcow2"),
        debian(version="2025/../../x"),
        debian(version=3),
        debian(version="1/../../x", ref="bookworm/1/../../x/d-1/../../x.qcow2"),
        debian(version="²", ref="bookworm/²/d-².qcow2"),
        debian(digest="sha512:é" + "A" * 85),
        debian(digest="sha512:" + "A" * 2100),
        debian(digest="sha512:!!!!"),
        debian(digest="sha512:AAAA"),
        debian(digest="md5:AAAA"),
        debian().replace(b'"qcow2"', b'"vhd"'),
        debian().replace(b'"raw"', b'"qcow2"'),
        b'{"items": [{"kind": "Upload", "metadata": 4}]}',
        b"[]",
    ],
)
def test_a_debian_document_that_does_not_fit_is_refused(document: bytes) -> None:
    with pytest.raises(VerificationError):
        locate("debian-json", document, DEBIAN, algorithm="sha512")


STREAM = "https://builds.example/prod/"


def stream(location: str = STREAM + "44/d.qcow2.xz", sha256: object = A, **more: object) -> bytes:
    disk = {"location": location, "sha256": sha256, **more}
    artifact = {"release": "44.1", "formats": {"qcow2.xz": {"disk": disk}}}
    return json.dumps({"architectures": {"x86_64": {"artifacts": {"qemu": artifact}}}}).encode()


def test_a_coreos_stream_gives_both_digests_and_the_signature() -> None:
    document = stream(signature=STREAM + "44/d.qcow2.xz.sig", **{"uncompressed-sha256": B})
    found = locate("coreos-stream", document, STREAM, item="x86_64/qemu/qcow2.xz")
    assert (found.url, found.digest.hex, found.build) == (STREAM + "44/d.qcow2.xz", A, "44.1")
    assert found.content and found.content.hex == B
    assert found.signature == STREAM + "44/d.qcow2.xz.sig"


@pytest.mark.parametrize(
    ("document", "item"),
    [
        (stream("https://evil.example/d.qcow2.xz"), "x86_64/qemu/qcow2.xz"),
        (stream(STREAM + "../../d.qcow2.xz"), "x86_64/qemu/qcow2.xz"),
        (stream(STREAM + "d\n.xz"), "x86_64/qemu/qcow2.xz"),
        (stream(STREAM + "%2e%2e/d.xz"), "x86_64/qemu/qcow2.xz"),
        (stream(STREAM + ".%2E\\d.xz"), "x86_64/qemu/qcow2.xz"),
        (stream(STREAM + "44/.."), "x86_64/qemu/qcow2.xz"),
        (stream(signature=["x"] * 9), "x86_64/qemu/qcow2.xz"),
        (stream(**{"uncompressed-sha256": {}}), "x86_64/qemu/qcow2.xz"),
        (stream(sha256="a1"), "x86_64/qemu/qcow2.xz"),
        (stream(sha256=None), "x86_64/qemu/qcow2.xz"),
        (stream(signature="http://evil.example/s"), "x86_64/qemu/qcow2.xz"),
        (stream(**{"uncompressed-sha256": "zz"}), "x86_64/qemu/qcow2.xz"),
        (stream(), "aarch64/qemu/qcow2.xz"),
        (stream(), "x86_64"),
        (
            b'{"architectures": {"x86_64": {"artifacts": {"qemu": {"formats": {"qcow2.xz": {"disk": []}}}}}}}',
            "x86_64/qemu/qcow2.xz",
        ),
    ],
)
def test_a_stream_that_leads_elsewhere_is_refused(document: bytes, item: str) -> None:
    with pytest.raises(VerificationError):
        locate("coreos-stream", document, STREAM, item=item)


def test_an_index_does_not_choose_the_rest_of_a_host_name() -> None:
    with pytest.raises(VerificationError, match="elsewhere"):
        locate("coreos-stream", stream(STREAM[:-1] + ".evil/d.xz"), STREAM[:-1], item="x86_64/qemu/qcow2.xz")


def oracle(**changes: object) -> bytes:
    kvm = {"image": "OL9U8_x86_64-kvm-b293.qcow2", "sha256": A} | changes
    return json.dumps({"base_url": "https://yum.example/templates/OL9/u8/x86_64", "kvm": kvm}).encode()


def test_an_oracle_template() -> None:
    found = locate("oracle-template", oracle(), "https://yum.example/templates/", item="kvm")
    assert found.url == "https://yum.example/templates/OL9/u8/x86_64/OL9U8_x86_64-kvm-b293.qcow2"
    assert (found.build, found.digest.hex) == ("OL9U8_x86_64-kvm-b293", A)


@pytest.mark.parametrize(
    "changes", [{"image": "https://evil.example/x"}, {"image": 4}, {"sha256": "no"}, {"image": ""}]
)
def test_an_oracle_template_that_does_not_fit_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(KmiError):
        locate("oracle-template", oracle(**changes), "https://yum.example/templates/", item="kvm")
