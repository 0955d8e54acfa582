"""Test results as signed attestations of the images that were tested (in-toto/attestation,
spec/predicates/test-result.md).

cosign 3.1 wraps the predicate in a Statement of version 0.1, whose only subject is the image's digest. It adds one each
time that it is asked, so kmi asks only where the same predicate is not there yet. Nothing signed tells which of several
came last, and a registry may hold some back: so the worst one counts, and ``none`` proves nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from kmi.errors import VerificationError
from kmi.host import memory
from kmi.model.digest import Digest
from kmi.oci.attempts import lost
from kmi.oci.reference import Reference
from kmi.publish import cosign, keys
from kmi.publish.keyless import Identity
from kmi.publish.keys import KeyPair

TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"

_STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")
_PAYLOAD = "application/vnd.in-toto+json"


class Result(StrEnum):
    """The predicate's ``result``, the best first."""

    PASSED = "PASSED"
    WARNED = "WARNED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """What one attestation says, its tests by name. ``predicate`` is all of it, as JSON."""

    __test__ = False

    result: Result
    passed: tuple[str, ...]
    warned: tuple[str, ...]
    failed: tuple[str, ...]
    predicate: Mapping[str, Any]


def worst(results: Sequence[TestResult]) -> TestResult | None:
    """The one to go by."""
    return max(results, key=lambda one: list(Result).index(one.result), default=None)


def attest(
    subject: Reference, predicate: Mapping[str, object], signer: KeyPair | Identity, log: Path | None = None
) -> bool:
    """Attach a test result to the image at a digest, unless that very one is there. Whether there was need to.

    BuildError if cosign fails, RegistryError if the registry does or keeps nothing, VerificationError if what it gives
    back is not understood. Calls for one digest must be serialised (``cosign.write``).
    """
    proof = keys.proof(signer)
    if _is_attested(subject, predicate, proof, log):
        return False
    private, password = (signer.private, signer.password) if isinstance(signer, KeyPair) else (None, "")
    with memory.file(json.dumps(predicate).encode()) as file:
        words: list[str | Path] = ["--type", TEST_RESULT, "--predicate", file]
        cosign.write("attest", words, subject, "test result", log, private=private, password=password)
    if not _is_attested(subject, predicate, proof, log):
        raise lost("test result", subject, log)
    return True


def results(subject: Reference, key: Path | Identity, log: Path | None = None) -> tuple[TestResult, ...]:
    """Every test result of the image at a digest that verifies with the public ``key``, or that was attested keyless by
    an identity; none is an empty tuple.

    What is of another type or another image is left out, whatever cosign makes of it. Raises what
    ``cosign.signatures`` does.
    """
    argv = ["verify-attestation", "--type", TEST_RESULT]
    answer = cosign.found(argv, subject, key, "attestations", log)
    try:
        statements = [_statement(json.loads(line)) for line in (answer or "").splitlines() if line.strip()]
        return tuple(_result(one["predicate"]) for one in statements if _is_of(one, subject.digest))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise VerificationError(
            "an attestation is not understood", expected=f"a statement with {TEST_RESULT}", got=repr(error)[:300],
            where=subject, log=log,
        ) from error  # fmt: skip


def _statement(envelope: Mapping[str, Any]) -> Mapping[str, Any]:
    """The statement in an envelope of cosign's output (secure-systems-lab/dsse, envelope.md)."""
    if envelope["payloadType"] != _PAYLOAD:
        raise ValueError(f"payload of type {envelope['payloadType']}")
    statement: Mapping[str, Any] = json.loads(base64.b64decode(envelope["payload"], validate=True))
    return statement


def _is_of(statement: Mapping[str, Any], digest: Digest | None) -> bool:
    """Whether it is a test result of that image."""
    if statement["_type"] not in _STATEMENTS or statement["predicateType"] != TEST_RESULT or digest is None:
        return False
    return any(one["digest"].get(digest.algorithm) == digest.hex for one in statement["subject"])


def _result(predicate: Mapping[str, Any]) -> TestResult:
    return TestResult(
        result=Result(predicate["result"]),
        passed=_names(predicate, "passedTests"),
        warned=_names(predicate, "warnedTests"),
        failed=_names(predicate, "failedTests"),
        predicate=predicate,
    )


def _names(predicate: Mapping[str, Any], field: str) -> tuple[str, ...]:
    names = predicate.get(field) or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{field} is no list of names")
    return tuple(names)


def _is_attested(subject: Reference, predicate: Mapping[str, object], key: Path | Identity, log: Path | None) -> bool:
    return any(one.predicate == predicate for one in results(subject, key, log))
