"""What publishers signed, as it was recorded: each signature is good with its key, and a flipped bit is refused.

A bit that means nothing (a comment of the armour, the part of a signature that is not signed itself, another key of the
file) may flip, if what was signed stays what it was. ``KMI_MUTATIONS`` is how many bits of each file are tried.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kmi.errors import VerificationError
from kmi.upstream import openpgp
from kmi.upstream.signatures import Signed, verify

SAMPLES = os.environ.get("KMI_SAMPLES")
FLIPS = int(os.environ.get("KMI_MUTATIONS", "120"))
pytestmark = pytest.mark.skipif(not SAMPLES, reason="KMI_SAMPLES names no folder of recorded documents (samples)")


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A document, its detached signature (None if it is clear-signed), the key file, and who signed."""

    name: str
    document: bytes
    signature: bytes | None
    key: bytes
    fingerprint: str

    def verify(self, scratch: Path) -> Signed:
        pinned = (self.fingerprint,)
        return verify(self.document, self.signature, self.key, pinned, scratch=scratch, where=self.name)


FILES = {
    "Ubuntu, detached": (
        "ubuntu-24.04-release-20260725-SHA256SUMS", ".gpg",
        "key-ubuntu-D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81.asc", "D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81",
    ),
    "Fedora, clear-signed": (
        "fedora-44-aarch64-Fedora-Cloud-44-1.7-aarch64-CHECKSUM", None,
        "key-fedora-keyring.gpg", "36F612DCF27F7D1A48A835E4DBFCF71C6D9F90A6",
    ),
    "Leap, detached, version 3": (
        "opensuse-leap-16.0-Leap-16.0-Minimal-VM.aarch64-Cloud-Build18.7.qcow2.sha256", ".asc",
        "key-opensuse-AD485664E901B867051AB15F35A2F86E29B700A4.asc", "AD485664E901B867051AB15F35A2F86E29B700A4",
    ),
    "FreeBSD amd64, clear-signed": (
        "freebsd-15.1-CHECKSUM.SHA256-FreeBSD-15.1-RELEASE-amd64-vm.asc", None,
        "key-freebsd-cperciva.key", "82563B84D0620EDC0DFB86413897F2E22E65AD3F",
    ),
    "FreeBSD arm64, clear-signed": (
        "freebsd-15.1-CHECKSUM.SHA256-FreeBSD-15.1-RELEASE-arm64-aarch64-vm.asc", None,
        "key-freebsd-cperciva.key", "82563B84D0620EDC0DFB86413897F2E22E65AD3F",
    ),
}  # fmt: skip


CLEAR = [which for which in FILES if "clear" in which]


def recorded(which: str) -> Recorded:
    name, suffix, key, fingerprint = FILES[which]
    folder = Path(SAMPLES or "")
    return Recorded(
        name=name,
        document=(folder / name).read_bytes(),
        signature=(folder / (name + suffix)).read_bytes() if suffix else None,
        key=(folder / key).read_bytes(),
        fingerprint=fingerprint,
    )


def flipped(data: bytes, places: Iterator[int]) -> Iterator[bytes]:
    """Copies of ``data``, each with the bit flipped that has this number."""
    for place in places:
        bent = bytearray(data)
        bent[place // 8] ^= 1 << place % 8
        yield bytes(bent)


def some(data: bytes, seed: str) -> Iterator[bytes]:
    places = random.Random(seed)
    return flipped(data, (places.randrange(len(data) * 8) for _ in range(FLIPS)))


def held(case: Recorded, good: Signed, scratch: Path) -> bool:
    """Whether it is refused. What is not refused says what was signed, and by whom."""
    try:
        found = case.verify(scratch)
    except VerificationError:
        return True
    assert found == good
    return False


@pytest.mark.parametrize("which", FILES)
def test_every_recorded_signature_is_good(which: str, tmp_path: Path) -> None:
    case = recorded(which)
    signed = case.verify(tmp_path)
    assert signed.fingerprint == case.fingerprint
    assert (signed.content == case.document) == (case.signature is not None)
    assert b"BEGIN PGP" not in signed.content


@pytest.mark.parametrize("which", FILES)
def test_no_bit_of_a_document_may_flip(which: str, tmp_path: Path) -> None:
    case = recorded(which)
    good = case.verify(tmp_path)
    refused = [held(replace(case, document=bent), good, tmp_path) for bent in some(case.document, which)]
    assert all(refused) or case.signature is None, "of a detached signature's document every bit is signed"
    assert sum(refused) >= 0.9 * FLIPS


@pytest.mark.parametrize("which", CLEAR)
def test_no_bit_of_what_is_clear_signed_may_flip(which: str, tmp_path: Path) -> None:
    """Every bit of the text but those of the blanks at its lines' ends, which are not signed (RFC 9580, 7.1)."""
    case = recorded(which)
    good = case.verify(tmp_path)
    start = case.document.index(b"\n\n") + 2
    end = case.document.index(b"\n-----BEGIN PGP SIGNATURE")
    for bent in some(case.document[start:end], which):
        document = case.document[:start] + bent + case.document[end:]
        assert held(replace(case, document=document), good, tmp_path)


@pytest.mark.parametrize("which", FILES)
def test_no_bit_of_a_signature_may_flip(which: str, tmp_path: Path) -> None:
    case = recorded(which)
    good = case.verify(tmp_path)
    if case.signature is not None:
        bent = (replace(case, signature=bent) for bent in some(case.signature, which))
    else:
        start = case.document.index(b"-----BEGIN PGP SIGNATURE")
        bent = (replace(case, document=case.document[:start] + b) for b in some(case.document[start:], which))
    refused = [held(one, good, tmp_path) for one in bent]
    assert sum(refused) >= 0.85 * FLIPS, "what is not signed is a small part"


@pytest.mark.parametrize("which", FILES)
def test_a_bent_key_file_lets_nothing_else_through(which: str, tmp_path: Path) -> None:
    case = recorded(which)
    good = case.verify(tmp_path)
    assert any(held(replace(case, key=bent), good, tmp_path) for bent in some(case.key, which))


@pytest.mark.parametrize("which", FILES)
def test_no_bit_of_the_pinned_key_may_flip(which: str, tmp_path: Path) -> None:
    """Each bit of the primary key's packet is in its fingerprint."""
    case = recorded(which)
    good = case.verify(tmp_path)
    binary = openpgp.dearmour(case.key)
    key = openpgp.keys(binary)[case.fingerprint]
    packet = next(whole for _, whole, _ in openpgp._packets(key))
    for bent in some(packet, which):
        assert held(replace(case, key=bent + key[len(packet) :]), good, tmp_path)


@pytest.mark.parametrize("which", FILES)
def test_no_end_may_be_cut_off(which: str, tmp_path: Path) -> None:
    case = recorded(which)
    good = case.verify(tmp_path)
    for part in "document", "signature", "key":
        whole = getattr(case, part)
        for length in (0, 1, len(whole or b"") // 2, len(whole or b"") - 40):
            if whole is not None:
                assert held(replace(case, **{part: whole[:length]}), good, tmp_path) or part == "key"


def test_a_signature_is_for_its_own_document_and_key(tmp_path: Path) -> None:
    cases = [recorded(which) for which in FILES]
    for one, other in itertools.permutations(cases, 2):
        changed = [replace(one, document=other.document)] if one.signature and other.signature else []
        if one.key != other.key:
            changed += [replace(one, key=other.key), replace(one, fingerprint=other.fingerprint)]
        if other.signature:
            changed += [replace(one, signature=other.signature)]
        for case in changed:
            with pytest.raises(VerificationError):
                case.verify(tmp_path)


@pytest.mark.parametrize("which", CLEAR)
def test_nothing_may_stand_around_a_recorded_block(which: str, tmp_path: Path) -> None:
    case = recorded(which)
    evil = b"SHA256 (evil.qcow2) = " + b"b2" * 32 + b"\n"
    good = case.document
    other = next(recorded(name).document for name in CLEAR if name != which)
    for document in (
        evil + good, good + evil, b"\n" + good, good + b" ", good + good, good + other, other + good,
        good.replace(b"\n\n", b"\n\n" + evil, 1), good.replace(b"\n\n", b"\n" + evil + b"\n", 1),
        good.replace(b"-----BEGIN PGP SIGNATURE", evil + b"-----BEGIN PGP SIGNATURE"),
    ):  # fmt: skip
        with pytest.raises(VerificationError):
            replace(case, document=document).verify(tmp_path)
