"""How cosign's answers are read. The answers are cosign 3.1.1's own (simulated: the program is not run)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmi.errors import NetworkError, VerificationError
from kmi.host.run import Result
from kmi.model.digest import Digest
from kmi.oci.reference import Reference, parse
from kmi.publish import cosign

HEX = "d" * 64
IMAGE = parse(f"registry.test/kmi/debian@sha256:{HEX}")
KEY = "-----BEGIN PUBLIC KEY-----\nTUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJ\n-----END PUBLIC KEY-----\n"


def claim(kind: str = cosign.SIGNATURE, hexdigits: str = HEX, **optional: str) -> dict[str, object]:
    return {
        "critical": {
            "identity": {"docker-reference": str(IMAGE)},
            "image": {"docker-manifest-digest": f"sha256:{hexdigits}"},
            "type": kind,
        },
        "optional": optional or None,
    }


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "cosign.pub").write_text(KEY)

    def read(stdout: str, status: int = 0, stderr: str = "", there: bool = True) -> tuple[cosign.Signature, ...]:
        def raw_manifest(reference: Reference) -> bytes:
            if not there:
                raise NetworkError("gone")
            return b"{}"

        result = Result(status=status, stdout=stdout, stderr=stderr)
        monkeypatch.setattr(cosign.host, "run", lambda *_, **__: result)
        monkeypatch.setattr(cosign.registry, "raw_manifest", raw_manifest)
        return cosign.signatures(IMAGE, tmp_path / "cosign.pub")

    return read


def test_a_signature(answer) -> None:
    words = {cosign.REPOSITORY: "registry.test/kmi/debian", cosign.TAGS: "12-20261120-1 12"}
    (one,) = answer("\n" + json.dumps([claim(**words)]))
    assert one.digest == Digest(algorithm="sha256", hex=HEX)
    assert (one.repository, one.tags) == ("registry.test/kmi/debian", ("12-20261120-1", "12"))


def test_what_is_no_signature_of_the_image_is_left_out(answer) -> None:
    others = [
        claim("https://spdx.dev/Document"),
        claim("https://slsa.dev/provenance/v1"),
        claim("cosign container image signature"),
        claim(hexdigits="e" * 64),
    ]
    assert answer(json.dumps(others)) == ()
    assert len(answer(json.dumps([*others, claim()]))) == 1


def test_none(answer) -> None:
    assert answer("", 10, "Error: no signatures found") == ()
    assert answer("", 1, "Error: no matching attestations: failed to verify signature") == ()


def test_none_because_the_image_is_gone(answer) -> None:
    with pytest.raises(NetworkError):
        answer("", 10, "Error: no signatures found", there=False)


def test_failures_are_told_apart(answer) -> None:
    with pytest.raises(NetworkError):
        answer("", 1, "Error: GET http://x: dial tcp 127.0.0.1:9: connect: connection refused")
    with pytest.raises(NetworkError):
        answer("", 1, "Error: something", there=False)
    with pytest.raises(VerificationError, match="does not accept"):
        answer("", 1, "Error: something")


@pytest.mark.parametrize("stdout", ["", "verified", "{}", "[1]", '[{"critical": {}}]', '[{"critical": null}]'])
def test_an_answer_that_is_not_understood_is_no_signature(answer, stdout: str) -> None:
    if stdout == "{}":
        assert answer(stdout) == ()
        return
    with pytest.raises(VerificationError, match="not understood"):
        answer(stdout)
