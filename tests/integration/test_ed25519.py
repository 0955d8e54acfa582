"""minisign and signify signatures by the real programs: the good one is taken, every bent one is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kmi.errors import VerificationError
from kmi.upstream import ed25519
from tests.ed25519 import minisign_key, minisigned, signified, signify_key

SAMPLES = os.environ.get("KMI_SAMPLES")
Check = Callable[[bytes, bytes, str], object]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """minisign's check of a document called ``disk.iso``."""

    def call(document: bytes, signature: bytes, key: str) -> ed25519.Signed:
        (tmp_path / "document").write_bytes(document)
        return ed25519.minisign(
            tmp_path / "document", signature, key, name="disk.iso", scratch=tmp_path, where="https://x/disk.iso"
        )

    return call


def test_a_minisign_signature_tells_key_and_time(tmp_path: Path, check: Check) -> None:
    key = minisign_key(tmp_path, "a")
    signature = minisigned(key, b"disk", tmp_path, "timestamp:1700000000\tfile:disk.iso")
    assert check(b"disk", signature, key.public) == ed25519.Signed(
        key=key.public, made_at=datetime.fromtimestamp(1700000000, UTC)
    )
    assert check(b"disk", minisigned(key, b"disk", tmp_path, "no time"), key.public) == ed25519.Signed(
        key=key.public, made_at=None
    )


def test_a_minisign_signature_that_does_not_fit_is_refused(tmp_path: Path, check: Check) -> None:
    key, other = minisign_key(tmp_path, "a"), minisign_key(tmp_path, "b")
    good = minisigned(key, b"disk", tmp_path, "timestamp:1700000000\tfile:disk.iso")
    cases = {
        "another document": (b"disc", good, key.public),
        "a foreign key": (b"disk", good, other.public),
        "a foreign signature": (b"disk", minisigned(other, b"disk", tmp_path, "x"), key.public),
        "another file's": (b"disk", minisigned(key, b"disk", tmp_path, "file:other.iso"), key.public),
        "a changed comment": (b"disk", good.replace(b"1700000000", b"1800000000"), key.public),
        "nothing": (b"disk", b"", key.public),
        "a page": (b"disk", b"<html>", key.public),
        "no key": (b"disk", good, "RW" + "A" * 54),
    }
    for name, case in cases.items():
        with pytest.raises(VerificationError):
            print(name, check(*case))


@pytest.mark.parametrize("place", range(0, 74, 9))
def test_no_bit_of_a_minisign_signature_may_flip(tmp_path: Path, check: Check, place: int) -> None:
    key = minisign_key(tmp_path, "a")
    lines = minisigned(key, b"disk", tmp_path, "timestamp:1700000000").splitlines(keepends=True)
    bent = bytearray(lines[1])
    bent[place] = bent[place] ^ 1 if chr(bent[place] ^ 1).isalnum() else ord("A")
    if bytes(bent) == lines[1]:
        bent[place] = ord("B")
    with pytest.raises(VerificationError):
        check(b"disk", b"".join([lines[0], bytes(bent), *lines[2:]]), key.public)


def test_signify(tmp_path: Path) -> None:
    key, other = signify_key(tmp_path, "a"), signify_key(tmp_path, "b")
    document = tmp_path / "document"
    document.write_bytes(b"SHA256 (disk) = ab\n")
    signature = signified(key, document.read_bytes(), tmp_path)
    call = lambda sig, public: ed25519.signify(document, sig, public, scratch=tmp_path, where="x")  # noqa: E731
    assert call(signature, key.public).key == key.public
    document.write_bytes(b"SHA256 (disk) = ac\n")
    for bad, public in ((signature, key.public), (signature, other.public), (b"", key.public), (b"\xff", key.public)):
        with pytest.raises(VerificationError):
            call(bad, public)


def test_an_embedded_signify_signature_gives_what_was_signed(tmp_path: Path) -> None:
    key, other = signify_key(tmp_path, "a"), signify_key(tmp_path, "b")
    text = b"SHA256 (install79.img) = abc\n"
    document = signified(key, text, tmp_path, embedded=True)
    content, signed = ed25519.signify_embedded(document, key.public, scratch=tmp_path, where="x")
    assert (content, signed.key) == (text, key.public)
    for bad, public in ((document + b"more\n", key.public), (document, other.public), (text, key.public)):
        with pytest.raises(VerificationError):
            ed25519.signify_embedded(bad, public, scratch=tmp_path, where="x")


def test_a_publishers_minisign_key_is_one(tmp_path: Path, check: Check) -> None:
    if not SAMPLES:
        pytest.skip("KMI_SAMPLES names no folder of recorded documents (samples)")
    key = (Path(SAMPLES) / "key-vyos-minisign.pub").read_text().splitlines()[1]
    foreign = minisigned(minisign_key(tmp_path, "a"), b"disk", tmp_path, "x")
    with pytest.raises(VerificationError) as caught:
        check(b"disk", foreign, key)
    assert "Signature key id" in str(caught.value) or "key" in str(caught.value).lower()
