"""How cosign's answers are read. The answers are cosign 3.1.1's own (simulated: the program is not run), and those of
an older one come from a program that stands in for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kmi.errors import HostError, NetworkError, VerificationError
from kmi.host import capability, doctor
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

    def read(
        stdout: str, status: int = 0, stderr: str = "", there: bool = True, listed: bool = True
    ) -> tuple[cosign.Signature, ...]:
        def raw_manifest(reference: Reference) -> bytes:
            if not there or (reference.tag and not listed):
                raise NetworkError("gone")
            return b"{}"

        result = Result(status=status, stdout=stdout, stderr=stderr)
        monkeypatch.setattr(cosign.capability, "cosign", lambda: "devel")
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


def test_none_because_the_registry_keeps_their_list_back(answer) -> None:
    with pytest.raises(NetworkError):
        answer("", 10, "Error: no signatures found", listed=False)


def test_failures_are_told_apart(answer) -> None:
    with pytest.raises(NetworkError):
        answer("", 1, "Error: GET http://x: dial tcp 127.0.0.1:9: connect: connection refused")
    with pytest.raises(NetworkError):
        answer("", 1, "Error: something", there=False)
    with pytest.raises(VerificationError, match="does not accept"):
        answer("", 1, "Error: something")


MANIFEST = f"http://registry.test/v2/kmi/debian/manifests/sha256-{HEX}.sig"


@pytest.mark.parametrize(
    "said",
    [
        f"GET {MANIFEST}: UNAUTHORIZED: authentication required",
        f"GET {MANIFEST}: DENIED: requested access to the resource is denied",
        f"GET {MANIFEST}: unexpected status code 500 Internal Server Error",
        f"GET {MANIFEST}: unexpected status code 503 Service Unavailable",
        f"GET {MANIFEST}: unexpected status code 429 Too Many Requests",
        'Get "https://registry.test/v2/": tls: failed to verify certificate: x509: certificate is not valid for any '
        "names, but wanted to match registry.test",
        'Get "https://nowhere.invalid/v2/": dial tcp: lookup nowhere.invalid on 127.0.0.1:53: no such host',
    ],
)
def test_a_registry_that_fails_is_no_verdict(answer, said: str) -> None:
    with pytest.raises(NetworkError, match="cannot read the signatures") as caught:
        answer("", 1, f"WARNING: Skipping tlog\nError: {said}\nerror during command execution: {said}")
    assert caught.value.got == said


OLD = """\
#!/bin/sh
echo "$1" >> "$0.calls"
case $1 in
  attest-blob) echo "      --predicate='': path to the predicate file." ;;
  version) echo "cosign: A tool for Container Signing" >&2; echo "GitVersion:    v2.5.0"; echo "GoVersion: go1.24.3" ;;
  *) echo "Error: no signatures found" >&2; exit 10 ;;
esac
"""


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Put a program named cosign where kmi looks first."""

    def put(text: str) -> Path:
        path = tmp_path / "bin" / "cosign"
        path.parent.mkdir()
        path.write_text(text)
        path.chmod(0o755)
        monkeypatch.setattr("kmi.host.run.sys.executable", str(path.with_name("python")))
        return path

    return put


def test_an_old_cosign_is_no_verdict(program, tmp_path: Path) -> None:
    """It would say of every image that it has no signature."""
    calls = program(OLD).with_name("cosign.calls")
    (tmp_path / "cosign.pub").write_text(KEY)
    for _ in range(2):
        with pytest.raises(HostError, match="too old") as caught:
            cosign.signatures(IMAGE, tmp_path / "cosign.pub")
        assert (caught.value.expected, caught.value.got) == ("cosign 3.0.6 or newer", "v2.5.0")
        assert caught.value.hint
        with pytest.raises(HostError, match="too old"):
            cosign.sign(IMAGE, tmp_path / "cosign.key", "", ("12",))
    assert set(calls.read_text().split()) == {"attest-blob", "version"}


def test_a_fit_cosign_is_asked_once(program) -> None:
    path = program(OLD.replace("--predicate", "--statement").replace("v2.5.0", "devel"))
    assert [capability.cosign(), capability.cosign()] == ["devel", "devel"]
    assert path.with_name("cosign.calls").read_text().split() == ["attest-blob", "version"]


def test_doctor_says_the_same_of_it(program, tmp_path: Path) -> None:
    path = program(OLD)
    with pytest.raises(HostError, match="lacks") as caught:
        doctor.require({"publish"}, tmp_path)
    assert f"cosign: cosign is too old: v2.5.0 ({path})" in str(caught.value.got)
    assert "install cosign 3.0.6 or newer" in str(caught.value.hint)
    path.write_text(OLD.replace("--predicate", "--statement").replace("v2.5.0", "devel"))
    doctor.require({"publish"}, tmp_path)


@pytest.mark.parametrize("stdout", ["", "verified", "{}", "[1]", '[{"critical": {}}]', '[{"critical": null}]'])
def test_an_answer_that_is_not_understood_is_no_signature(answer, stdout: str) -> None:
    if stdout == "{}":
        assert answer(stdout) == ()
        return
    with pytest.raises(VerificationError, match="not understood"):
        answer(stdout)
