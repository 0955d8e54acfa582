"""How cosign's answers on test results are read. The answers are as cosign 3.1.1 prints them (simulated: the program is
not run)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from kmi.errors import BuildError, NetworkError, VerificationError
from kmi.host.run import Result
from kmi.oci.reference import parse
from kmi.publish import attest, cosign
from kmi.publish.attest import TestResult
from kmi.publish.keyless import Identity
from kmi.publish.keys import KeyPair

HEX = "d" * 64
IMAGE = parse(f"registry.test/kmi/debian@sha256:{HEX}")
KEY = "-----BEGIN PUBLIC KEY-----\nTUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJ\n-----END PUBLIC KEY-----\n"
PREDICATE = {"result": "WARNED", "configuration": [], "passedTests": ["a"], "warnedTests": ["b", "c"]}
OTHER_TYPE = "none of the attestations matched the predicate type: https://x.test/, found: https://spdx.dev/Document"


def line(kind: str = "application/vnd.in-toto+json", **changes: object) -> str:
    statement = {
        "_type": "https://in-toto.io/Statement/v0.1",
        "subject": [{"name": "registry.test/kmi/debian", "digest": {"sha256": HEX}}],
        "predicateType": attest.TEST_RESULT,
        "predicate": PREDICATE,
    }
    payload = base64.b64encode(json.dumps(statement | changes).encode()).decode()
    return json.dumps({"payloadType": kind, "payload": payload, "signatures": [{"sig": "MEUC"}]})


class Cosign:
    """Answers what it is told to, and keeps what it was asked and given."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.given: list[object] = []
        self.answers: list[Result] = []

    def run(self, argv: list[str | Path], **_: object) -> Result:
        words = [str(word) for word in argv]
        self.calls.append(words)
        if "--predicate" in words:
            self.given.append(json.loads(Path(words[words.index("--predicate") + 1]).read_text()))
        return self.answers.pop(0)

    def say(self, stdout: str = "", status: int = 0, stderr: str = "") -> None:
        self.answers.append(Result(status=status, stdout=stdout, stderr=stderr))


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Cosign:
    fake = Cosign()
    monkeypatch.setattr(cosign.capability, "cosign", lambda: "devel")
    monkeypatch.setattr(cosign.host, "run", fake.run)
    monkeypatch.setattr(cosign.registry, "raw_manifest", lambda _: b"{}")
    monkeypatch.setattr(cosign.registry, "exists", lambda _: None)
    return fake


@pytest.fixture
def pair(tmp_path: Path) -> KeyPair:
    (tmp_path / "cosign.pub").write_text(KEY)
    return KeyPair(
        private=tmp_path / "cosign.key", public=tmp_path / "cosign.pub", password="hidden-word", created=False
    )


def test_a_test_result(program: Cosign, pair: KeyPair) -> None:
    program.say(line() + "\n" + line(_type="https://in-toto.io/Statement/v1") + "\n")
    found = attest.results(IMAGE, pair.public)
    one = TestResult(result=attest.Result.WARNED, passed=("a",), warned=("b", "c"), failed=(), predicate=PREDICATE)
    assert found == (one, one)
    assert program.calls[0][2:] == [
        "verify-attestation", "--type", "https://in-toto.io/attestation/test-result/v0.1",
        "--key", str(pair.public), "--insecure-ignore-tlog=true", str(IMAGE),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        line(predicateType="https://spdx.dev/Document"),
        line(_type="https://in-toto.io/Statement/v2"),
        line(subject=[{"digest": {"sha256": "e" * 64}}]),
        line(subject=[{"digest": {"sha512": HEX}}]),
        line(subject=[]),
    ],
)
def test_what_is_no_test_result_of_the_image_is_left_out(program: Cosign, pair: KeyPair, other: str) -> None:
    """Whatever cosign's exit status says."""
    program.say(other)
    assert attest.results(IMAGE, pair.public) == ()
    program.say(f"{other}\n{line()}\n")
    assert len(attest.results(IMAGE, pair.public)) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "verified",
        "[]",
        "7",
        "null",
        "{}",
        '{"payloadType": "application/vnd.in-toto+json", "payload": "not base64!"}',
        line("text/plain"),
        line(subject={}),
        line(subject=[{}]),
        line(predicate=None),
        line(predicate={}),
        line(predicate={"result": "passed"}),
        line(predicate={"result": "PASSED", "passedTests": "all"}),
        line(predicate={"result": "PASSED", "failedTests": [1]}),
        "[" * 100_000,
    ],
)
def test_an_answer_that_is_not_understood_is_no_result(program: Cosign, pair: KeyPair, answer: str) -> None:
    if answer == line(subject={}):
        program.say(answer)
        assert attest.results(IMAGE, pair.public) == ()
        return
    program.say(answer)
    with pytest.raises(VerificationError, match="not understood"):
        attest.results(IMAGE, pair.public)


@pytest.mark.parametrize(
    ("status", "said"),
    [(10, "no signatures found"), (1, "no matching attestations: "), (1, OTHER_TYPE)],
)
def test_none(program: Cosign, pair: KeyPair, status: int, said: str) -> None:
    program.say("", status, f"Error: {said}\nerror during command execution: {said}")
    assert attest.results(IMAGE, pair.public) == ()


def test_failures_are_told_apart(program: Cosign, pair: KeyPair) -> None:
    program.say("", 1, "Error: GET http://x: UNAUTHORIZED: authentication required")
    with pytest.raises(NetworkError, match="cannot read the attestations"):
        attest.results(IMAGE, pair.public)
    program.say("", 1, "Error: something")
    with pytest.raises(VerificationError, match="does not accept the attestations"):
        attest.results(IMAGE, pair.public)


def test_the_worst_counts() -> None:
    def of(result: str) -> TestResult:
        return TestResult(result=attest.Result(result), passed=(), warned=(), failed=(), predicate={})

    assert attest.worst(()) is None
    assert attest.worst((of("PASSED"), of("FAILED"), of("WARNED"))) == of("FAILED")
    assert attest.worst((of("WARNED"), of("PASSED"))) == of("WARNED")


def test_attesting(program: Cosign, pair: KeyPair) -> None:
    program.say("", 10, "no signatures found")
    program.say()
    program.say(line())
    assert attest.attest(IMAGE, PREDICATE, pair)
    words = program.calls[1]
    assert words[2:6] == ["attest", "--yes", "--key", str(pair.private)]
    assert words[6::2][:4] == ["--signing-config", "--trusted-root", "--type", "--predicate"]
    assert (words[11], words[-1]) == (attest.TEST_RESULT, str(IMAGE))
    assert program.given == [PREDICATE]
    assert not any("hidden-word" in word for call in program.calls for word in call)


def test_what_is_attested_is_not_attested_again_but_for_another_result(program: Cosign, pair: KeyPair) -> None:
    program.say(line())
    assert not attest.attest(IMAGE, dict(reversed(PREDICATE.items())), pair)
    assert len(program.calls) == 1
    other = {**PREDICATE, "warnedTests": []}
    program.say(line())
    program.say()
    program.say(f"{line()}\n{line(predicate=other)}")
    assert attest.attest(IMAGE, other, pair)


def test_an_attestation_that_is_not_there_after_is_lost(program: Cosign, pair: KeyPair) -> None:
    program.say("", 10, "no signatures found")
    program.say()
    program.say("", 10, "no signatures found")
    with pytest.raises(NetworkError, match="does not have it"):
        attest.attest(IMAGE, PREDICATE, pair)


def test_cosign_that_fails_attests_nothing(program: Cosign, pair: KeyPair) -> None:
    program.say("", 10, "no signatures found")
    program.say("", 1, "Error: decrypt: encrypted: decryption failed")
    with pytest.raises(BuildError, match="cosign cannot attest") as caught:
        attest.attest(IMAGE, PREDICATE, pair)
    assert caught.value.got == "decrypt: encrypted: decryption failed"


def test_keyless(program: Cosign) -> None:
    """Simulated: no identity token can be had here."""
    who = Identity(subject="https://github.com/org/images/.github/workflows/images.yml@refs/heads/main")
    program.say("", 10, "no signatures found")
    program.say()
    program.say(line())
    assert attest.attest(IMAGE, PREDICATE, who)
    asked, made, _ = program.calls
    assert asked[5:9] == ["--certificate-identity", who.subject, "--certificate-oidc-issuer", who.issuer]
    assert made[2:6] == ["attest", "--yes", "--oidc-provider", "github-actions"]
    assert "--key" not in (*asked, *made)
