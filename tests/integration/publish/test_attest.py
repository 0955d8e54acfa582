"""Test results beside the images in a real registry, made and read by the real cosign, and what a stranger is told who
has the reference and the public key."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmi.errors import NetworkError
from kmi.host.run import run
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.stages import OciIndex, Published
from kmi.oci import attempts, reference
from kmi.oci.layout import INDEX, MANIFEST
from kmi.publish import attest as attesting
from kmi.publish import cosign
from kmi.publish import sign as signing
from kmi.publish.attest import TEST_RESULT, attest, results
from kmi.publish.keys import KeyPair
from kmi.publish.push import push
from kmi.publish.sign import sign
from kmi.publish.tags import TagPlan
from tests.integration.publish.conftest import fetch

Indexer = Callable[..., OciIndex]
Stranger = Callable[..., "subprocess.CompletedProcess[str]"]
Referrers = Callable[[str, object], int]
PLAN = TagPlan(immutable="12-20261120-1", moving=("12",))


def told(result: str, **names: list[str]) -> dict[str, object]:
    return {"result": result, "configuration": [], "passedTests": [], "warnedTests": [], "failedTests": [], **names}


GOOD = told("PASSED", passedTests=["amd64/bios ssh"])
BAD = told("WARNED", passedTests=["amd64/bios login-prompt"], warnedTests=["amd64/bios ssh", "amd64 \x1b[2Jidentity"])


@pytest.fixture
def signed(index: Indexer, repository: str, pair: KeyPair) -> Published:
    """An index of one architecture, signed, and nothing said of its tests."""
    published = push(index("signed", (Arch.AMD64,)), repository)
    sign(published, PLAN, pair)
    return published


def image(published: Published) -> reference.Reference:
    return reference.parse(published.reference).pinned(published.children[0][1])


def shown(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    return lines[next(at for at, line in enumerate(lines) if line.startswith("  test-result")) :]


def put(address: str, path: str, body: bytes, kind: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request("PUT", path, body, {"Content-Type": kind})
        assert connection.getresponse().status == 201
    finally:
        connection.close()


def test_each_image_is_attested_once(
    index: Indexer, repository: str, pair: KeyPair, referrers: Referrers, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = push(index(), repository)
    given = {digest: value for (_, digest), value in zip(published.children, (GOOD, BAD), strict=True)}
    attested = sign(published, PLAN, pair, results=given)
    digests = [published.digest, *given]
    assert [referrers(repository, digest) for digest in digests] == [1, 2, 2]
    home = reference.parse(published.reference)
    assert [[one.predicate for one in results(home.pinned(digest), pair.public)] for digest in given] == [[GOOD], [BAD]]
    assert results(home, pair.public) == ()
    with monkeypatch.context() as patch:
        patch.setattr(cosign, "write", lambda *_, **__: pytest.fail("signed or attested twice"))
        assert sign(published, PLAN, pair, results=given) == attested
    changed = dict(given) | {published.children[0][1]: BAD}
    sign(published, PLAN, pair, results=changed)
    assert [referrers(repository, digest) for digest in digests] == [1, 3, 2]


def test_plain_cosign_says_the_same(signed: Published, pair: KeyPair) -> None:
    attest(image(signed), BAD, pair)
    argv = ["cosign", "verify-attestation", "--key", pair.public, "--insecure-ignore-tlog=true", "--type", TEST_RESULT]
    statement = json.loads(base64.b64decode(json.loads(run([*argv, str(image(signed))]).stdout)["payload"]))
    assert (statement["predicateType"], statement["predicate"]) == (TEST_RESULT, BAD)
    assert statement["subject"] == [{"name": signed.repository, "digest": {"sha256": signed.children[0][1].hex}}]


def test_a_stranger_is_told(signed: Published, pair: KeyPair, stranger: Stranger) -> None:
    assert shown(stranger(signed.reference, pair.public)) == ["  test-result  amd64  none"]
    attest(image(signed), GOOD, pair)
    assert shown(stranger(signed.reference, pair.public)) == ["  test-result  amd64  PASSED"]
    assert shown(stranger(str(image(signed)), pair.public)) == ["  test-result  image  PASSED"]
    attest(image(signed), BAD, pair)  # the worst counts: nothing signed tells which came last
    assert shown(stranger(signed.reference, pair.public)) == [
        "  test-result  amd64  WARNED",
        "    warned  amd64/bios ssh",
        "    warned  amd64 �[2Jidentity",
    ]
    said = json.loads(stranger(signed.reference, pair.public, "--json").stdout)["test_results"]["amd64"]
    assert said["result"] == "WARNED"
    assert sorted(said["predicates"], key=lambda one: str(one["result"])) == [GOOD, BAD]


def test_a_failure_is_told_and_the_signature_holds(signed: Published, pair: KeyPair, stranger: Stranger) -> None:
    attest(image(signed), told("FAILED", failedTests=["amd64/bios ssh"]), pair)
    assert shown(stranger(signed.reference, pair.public)) == [
        "  test-result  amd64  FAILED", "    failed  amd64/bios ssh",
    ]  # fmt: skip


def test_another_key_is_not_believed(signed: Published, pair: KeyPair, other_pair: KeyPair, stranger: Stranger) -> None:
    attest(image(signed), GOOD, other_pair)
    assert shown(stranger(signed.reference, pair.public)) == ["  test-result  amd64  none"]
    attest(image(signed), BAD, pair)
    assert shown(stranger(signed.reference, pair.public))[0] == "  test-result  amd64  WARNED"
    assert [one.predicate for one in results(image(signed), pair.public)] == [BAD]


def test_another_type_is_not_believed(signed: Published, pair: KeyPair, tmp_path: Path) -> None:
    (tmp_path / "predicate.json").write_text(json.dumps(GOOD))
    words: list[str | Path] = ["--type", f"{TEST_RESULT}.1", "--predicate", tmp_path / "predicate.json"]
    cosign.write("attest", words, image(signed), "test", None, private=pair.private, password=pair.password)
    assert results(image(signed), pair.public) == ()


def test_a_result_of_another_image_is_not_believed(
    index: Indexer, signed: Published, host: str, pair: KeyPair, stranger: Stranger, referrers: Referrers
) -> None:
    """A registry, or who may push to it, lists a genuine attestation of one image as one of another."""
    other = push(index("other", (Arch.AMD64,)), signed.repository)
    attest(image(other), GOOD, pair)
    assert [one.predicate for one in results(image(other), pair.public)] == [GOOD]
    home = f"/v2/{image(signed).path}/manifests/"

    def read(what: str) -> dict[str, Any]:
        return dict(json.loads(fetch(host, home + what)[1]))

    (listed,) = read(tag(other.children[0][1]))["manifests"]
    grafted = read(listed["digest"])
    grafted["subject"]["digest"] = str(signed.children[0][1])
    body = json.dumps(grafted).encode()
    digest = of(body)
    put(host, f"{home}{digest}", body, MANIFEST)
    found = read(tag(signed.children[0][1]))
    found["manifests"].append({**listed, "digest": str(digest), "size": len(body)})
    put(host, home + tag(signed.children[0][1]), json.dumps(found).encode(), INDEX)
    assert referrers(signed.repository, signed.children[0][1]) == 2
    assert results(image(signed), pair.public) == ()
    assert shown(stranger(signed.reference, pair.public)) == ["  test-result  amd64  none"]


def of(body: bytes) -> Digest:
    return Digest(algorithm="sha256", hex=hashlib.sha256(body).hexdigest())


def tag(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"


def test_a_test_result_is_no_signature(index: Indexer, repository: str, pair: KeyPair, stranger: Stranger) -> None:
    published = push(index("unsigned", (Arch.AMD64,)), repository)
    attest(reference.parse(published.reference), GOOD, pair)
    attest(image(published), GOOD, pair)
    done = stranger(published.reference, pair.public)
    assert (done.returncode, "the index has no signature" in done.stderr) == (4, True)


def test_a_registry_that_loses_it_gets_no_tags(
    index: Indexer, repository: str, pair: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = push(index("lost", (Arch.AMD64,)), repository)
    monkeypatch.setattr(attempts, "_patience", 0.1)
    monkeypatch.setattr(attesting.cosign, "write", loses(cosign.write))
    with pytest.raises(NetworkError, match="took a test result and does not have it"):
        sign(published, PLAN, pair, results={published.children[0][1]: GOOD})


def loses(write: Callable[..., None]) -> Callable[..., None]:
    """cosign that attests nothing and says nothing."""
    return lambda verb, *words, **more: None if verb == "attest" else write(verb, *words, **more)


def test_the_password_is_in_no_log(signed: Published, pair: KeyPair, tmp_path: Path) -> None:
    sign(signed, PLAN, pair, results={signed.children[0][1]: BAD}, log=tmp_path / "log")
    assert " attest --yes" in (text := (tmp_path / "log").read_text())
    assert pair.password not in text


def test_every_attestation_has_a_tag_that_holds_it(
    signed: Published, host: str, pair: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a kill left without one gets it in the next run."""
    subject = signed.children[0][1]
    with monkeypatch.context() as patch:
        patch.setattr(signing, "hold", lambda *_, **__: None)
        sign(signed, PLAN, pair, results={subject: BAD})
    home = f"/v2/{image(signed).path}"
    listed = {one["digest"] for one in json.loads(fetch(host, f"{home}/manifests/{tag(subject)}")[1])["manifests"]}

    def held() -> set[str]:
        names = json.loads(fetch(host, f"{home}/tags/list")[1])["tags"]
        found = [name for name in names if name.startswith(f"{tag(subject)}.held-")]
        return {str(of(fetch(host, f"{home}/manifests/{name}")[1])) for name in found}

    assert len(listed) == 2 and len(held()) == 1
    sign(signed, PLAN, pair, results={subject: BAD})
    assert held() == listed
