"""Signatures by the real gpg, judged by the real gpgv: the good one is taken, every bent one is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kmi.errors import VerificationError
from kmi.upstream import openpgp, signatures
from kmi.upstream.signatures import Signed, verify
from tests.signing import Signer, signer

SUMS = b"a1" * 32 + b"  debian-12-genericcloud-amd64.qcow2\n- a line that clear-signing escapes\n"
Check = Callable[..., Signed]


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signer]:
    with signer(tmp_path_factory.mktemp("keys")) as home:
        yield home


@pytest.fixture(scope="module")
def key(gpg: Signer) -> str:
    return gpg.key("publisher")


@pytest.fixture(scope="module")
def other(gpg: Signer) -> str:
    return gpg.key("other")


@pytest.fixture
def check(gpg: Signer, key: str, tmp_path: Path) -> Check:
    """``verify`` with the publisher's key file and its fingerprint pinned, unless told otherwise."""

    def call(document: bytes, signature: bytes | None = None, *, keys: bytes | None = None, pins: tuple[str, ...] = ()):  # type: ignore[no-untyped-def]
        return verify(
            document, signature, keys or gpg.public(key), pins or (key,), scratch=tmp_path, where="https://x/SUMS"
        )

    return call


def test_a_detached_signature_is_good(gpg: Signer, key: str, check: Check) -> None:
    signed = check(SUMS, gpg.detached(key, SUMS))
    assert (signed.content, signed.fingerprint) == (SUMS, key)
    assert abs((datetime.now(UTC) - signed.made_at).total_seconds()) < 300


def test_so_is_an_armoured_one_with_a_binary_key(gpg: Signer, key: str, check: Check) -> None:
    signature = gpg.detached(key, SUMS, "--armor")
    assert check(SUMS, signature, keys=gpg.public(key, armour=False)).fingerprint == key


def test_a_clear_signed_document_gives_what_was_signed(gpg: Signer, key: str, check: Check) -> None:
    document = gpg.clear(key, SUMS)
    assert b"- - a line" in document
    assert check(document).content == SUMS
    assert check(document.replace(b"\n", b"\r\n")).fingerprint == key


def test_a_subkey_signs_for_its_primary_key(gpg: Signer, tmp_path: Path) -> None:
    primary = gpg.key("with-subkey")
    gpg.gpg("--quick-add-key", primary, "ed25519", "sign")
    signed = verify(SUMS, gpg.detached(primary, SUMS), gpg.public(primary), (primary,), scratch=tmp_path, where="x")
    assert signed.fingerprint == primary


def test_one_of_two_pinned_keys_is_enough(gpg: Signer, key: str, other: str, check: Check) -> None:
    both = gpg.public(key) + b"\n" + gpg.public(other)
    assert check(SUMS, gpg.detached(other, SUMS), keys=both, pins=(key, other)).fingerprint == other


@pytest.mark.parametrize("place", [0, 10, -2])
def test_a_changed_document_is_refused(gpg: Signer, key: str, check: Check, place: int) -> None:
    bent = bytearray(SUMS)
    bent[place] ^= 1
    with pytest.raises(VerificationError, match="not good"):
        check(bytes(bent), gpg.detached(key, SUMS))


def test_a_flipped_bit_in_the_signature_is_refused_or_changes_nothing(gpg: Signer, key: str, check: Check) -> None:
    """Part of a signature packet is not signed itself (RFC 9580, 5.2.3): a flip there may change nothing at all."""
    signature = gpg.detached(key, SUMS)
    good = check(SUMS, signature)
    passed = []
    for at in range(0, len(signature), 9):
        bent = bytearray(signature)
        bent[at] ^= 4
        try:
            assert check(SUMS, bytes(bent)) == good
            passed.append(at)
        except VerificationError:
            continue
    assert all(at < len(signature) - 64 for at in passed), "the last 64 bytes are the Ed25519 signature"
    assert len(passed) < 4


def test_another_key_is_refused(gpg: Signer, other: str, check: Check) -> None:
    with pytest.raises(VerificationError, match="not good"):
        check(SUMS, gpg.detached(other, SUMS))


def test_a_key_that_is_not_pinned_signs_nothing_although_it_is_in_the_file(
    gpg: Signer, key: str, other: str, check: Check
) -> None:
    with pytest.raises(VerificationError):
        check(SUMS, gpg.detached(other, SUMS), keys=gpg.public(key, other))


def test_a_key_file_without_the_pinned_key_is_refused(gpg: Signer, key: str, other: str, check: Check) -> None:
    with pytest.raises(VerificationError, match="not the pinned one") as caught:
        check(SUMS, gpg.detached(other, SUMS), keys=gpg.public(other))
    assert (caught.value.expected, caught.value.got) == (key, other)


@pytest.mark.parametrize("rubbish", [b"<html>", b"", b"\x99\x01", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!\n"])
def test_a_key_file_that_is_none_is_refused(gpg: Signer, key: str, check: Check, rubbish: bytes) -> None:
    with pytest.raises(VerificationError):
        check(SUMS, gpg.detached(key, SUMS), keys=rubbish or b" ")


def test_two_signatures_of_which_one_is_unknown_are_refused(gpg: Signer, key: str, other: str, check: Check) -> None:
    with pytest.raises(VerificationError):
        check(SUMS, gpg.detached(key, SUMS) + gpg.detached(other, SUMS))


def test_an_expired_key_is_refused_although_gpgv_is_content(gpg: Signer, tmp_path: Path) -> None:
    then = ("--faked-system-time", "20240101T000000!")
    expired = gpg.key("expired", *then, expires="2024-02-01")
    signature = gpg.detached(expired, SUMS, *then)
    with pytest.raises(VerificationError) as caught:
        verify(SUMS, signature, gpg.public(expired), (expired,), scratch=tmp_path, where="x")
    assert "EXPKEYSIG" in str(caught.value.got)


def test_an_expired_signature_is_refused(gpg: Signer, tmp_path: Path) -> None:
    then = ("--faked-system-time", "20240101T000000!")
    old = gpg.key("old", *then)
    signature = gpg.detached(old, SUMS, *then, "--default-sig-expire", "1d")
    with pytest.raises(VerificationError) as caught:
        verify(SUMS, signature, gpg.public(old), (old,), scratch=tmp_path, where="x")
    assert "EXPSIG" in str(caught.value.got)


def test_a_revoked_key_is_refused(gpg: Signer, tmp_path: Path) -> None:
    revoked = gpg.key("revoked")
    signature = gpg.detached(revoked, SUMS)
    gpg.revoke(revoked)
    with pytest.raises(VerificationError) as caught:
        verify(SUMS, signature, gpg.public(revoked), (revoked,), scratch=tmp_path, where="x")
    assert "REVKEYSIG" in str(caught.value.got)


def test_a_weak_hash_is_refused(gpg: Signer, tmp_path: Path) -> None:
    rsa = gpg.key("rsa", kind="rsa2048")
    public = gpg.public(rsa)
    assert verify(SUMS, gpg.detached(rsa, SUMS), public, (rsa,), scratch=tmp_path, where="x").fingerprint == rsa
    with pytest.raises(VerificationError, match="too weak") as caught:
        verify(SUMS, gpg.detached(rsa, SUMS, "--digest-algo", "SHA1"), public, (rsa,), scratch=tmp_path, where="x")
    assert "algorithm 2" in str(caught.value.got)


EVIL = b"b2" * 32 + b"  debian-12-genericcloud-amd64.qcow2\n"


@pytest.mark.parametrize(
    "bend",
    [
        lambda good: EVIL + good,
        lambda good: good + EVIL,
        lambda good: b"\n" + good,
        lambda good: b" " + good,
        lambda good: good + good,
        lambda good: good.replace(
            b"-----BEGIN PGP SIGNED MESSAGE-----\n", b"-----BEGIN PGP SIGNED MESSAGE-----\n" + EVIL
        ),
        lambda good: good.replace(b"-----BEGIN PGP SIGNATURE-----", EVIL + b"-----BEGIN PGP SIGNATURE-----"),
        lambda good: good.replace(b"-----BEGIN PGP SIGNED MESSAGE-----", b"-----BEGIN PGP MESSAGE-----"),
        lambda good: good.replace(b"a1a1", b"a2a1", 1),
        lambda good: SUMS,
        lambda good: b"",
    ],
)
def test_anything_around_or_in_a_clear_signed_block_is_refused(
    gpg: Signer, key: str, check: Check, bend: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(VerificationError):
        check(bend(gpg.clear(key, SUMS)))


def test_a_signed_message_is_no_detached_signature(gpg: Signer, key: str, check: Check) -> None:
    for signature in (gpg.clear(key, SUMS), gpg._sign(key, SUMS, "--sign"), b"", SUMS):
        with pytest.raises(VerificationError):
            check(SUMS, signature)


PINNED, FOREIGN = "A5" * 20, "B6" * 20
GOODSIG = f"[GNUPG:] GOODSIG {PINNED[-16:]} publisher"
VALIDSIG = f"[GNUPG:] VALIDSIG {PINNED} 2025-02-10 1739218740 0 4 0 22 10 00 {PINNED}"


def test_status_lines_alone_decide() -> None:
    """The keyring holds pinned keys only, so gpgv never tells of a foreign one; were it to, this is the second wall."""
    made = datetime(2025, 2, 10, 20, 19, tzinfo=UTC)
    assert signatures._judge(f"{GOODSIG}\n{VALIDSIG}\n", (PINNED,), "x") == (PINNED, made)
    for status in (
        f"{GOODSIG}\n{VALIDSIG[:-40]}{FOREIGN}",
        f"{GOODSIG.replace(PINNED[-16:], FOREIGN[-16:])}\n{VALIDSIG}",
        VALIDSIG,
        GOODSIG,
        f"{GOODSIG}\n{VALIDSIG}\n{VALIDSIG}",
        f"{GOODSIG}\n{VALIDSIG.replace(' 10 00 ', ' 1 00 ')}",
        f"{GOODSIG}\n{VALIDSIG.replace(' 10 00 ', ' 10 18 ')}",
        f"{GOODSIG}\n{VALIDSIG}\n[GNUPG:] ERRSIG {FOREIGN[-16:]} 1 10 00 1739218740 9",
        f"{GOODSIG}\n{VALIDSIG}".replace("[GNUPG:] ", ""),
        "",
    ):
        with pytest.raises(VerificationError):
            signatures._judge(status, (PINNED,), "x")


def test_fingerprints_are_what_gpg_says(gpg: Signer, key: str, other: str) -> None:
    found = openpgp.keys(openpgp.dearmour(gpg.public(armour=True)))
    assert set(found) == set(gpg.fingerprints())
    assert openpgp.dearmour(gpg.public(key)) == gpg.public(key, armour=False)


ENDS = SUMS.replace(b"\n", b"\r\n")
BEGIN, HASH = b"-----BEGIN PGP SIGNED MESSAGE-----\n", b"Hash: SHA256\n"


@pytest.mark.parametrize(
    ("bend", "lines"),
    [
        (lambda good: good.replace(b"- - a line", b"- a line"), None),
        (lambda good: good.replace(b"- - a line", b"- - - a line"), None),
        (lambda good: good.replace(b"- - a line", b"a line"), None),
        (lambda good: good.replace(HASH, HASH + b"NotDashEscaped: You need GnuPG to verify this message\n"), None),
        (lambda good: good.replace(HASH, HASH + b"Comment: x\n"), None),
        (lambda good: good.replace(HASH, b"Hash: MD5\n"), None),
        (lambda good: good.replace(HASH, b""), None),
        (lambda good: good.replace(HASH + b"\n", HASH), None),
        (lambda good: good.replace(HASH + b"\n", HASH + b"\n\n"), None),
        (lambda good: good.replace(b"  debian", b"\r  debian"), None),
        (lambda good: good.replace(b"  debian", b"\n  debian"), None),
        (lambda good: good.replace(b"  debian", b"\0  debian"), None),
        (lambda good: good.replace(b"  debian", b"\x0b  debian"), None),
        (lambda good: good.replace(b".qcow2\n", b".qcow2"), None),
        (lambda good: good.replace(b"\n", b"\r"), None),
        (lambda good: good.replace(b"-----BEGIN PGP SIGNATURE", b"- -----BEGIN PGP SIGNATURE"), None),
        (lambda good: good.replace(b"\n", b"\r\n"), ENDS),
        (lambda good: good.replace(b"a1a1", b"- a1a1", 1), SUMS),
        (lambda good: good.replace(b".qcow2\n", b".qcow2 \t \n"), SUMS),
        (lambda good: good.replace(b"MESSAGE-----\n", b"MESSAGE----- \n"), SUMS),
        (lambda good: good + b"\r\n\n", SUMS),
    ],
)
def test_dashes_and_line_ends_change_nothing_that_is_signed(
    gpg: Signer, key: str, check: Check, bend: Callable[[bytes], bytes], lines: bytes | None
) -> None:
    """Escapes, and blanks at the end of a line, are not signed (RFC 9580, 7): the rest is as it was."""
    good = gpg.clear(key, SUMS)
    assert good.startswith(BEGIN + HASH + b"\n") and bend(good) != good
    if lines is None:
        with pytest.raises(VerificationError):
            check(bend(good))
    else:
        assert check(bend(good)).content == lines


def test_a_block_in_a_block_is_refused(gpg: Signer, key: str, other: str, check: Check) -> None:
    inner = gpg.clear(key, SUMS)
    for outer in (gpg.clear(key, inner), gpg.clear(other, inner)):
        with pytest.raises(VerificationError, match="one whole block"):
            check(outer)
    head, _, tail = inner.partition(b"a1a1")
    with pytest.raises(VerificationError, match="one whole block"):
        check(head + inner + b"a1a1" + tail)


def test_a_line_of_which_gpgv_reads_a_part_is_refused(gpg: Signer, key: str, check: Check) -> None:
    """gpgv passes over what is behind byte 19,995 of a line, and calls the signature good."""
    document = gpg.clear(key, b"x" * 30_000 + b"\n" + SUMS)
    for text in (document, document.replace(b"x" * 30_000, b"x" * 29_000 + b"y" * 1000)):
        with pytest.raises(VerificationError, match="too long"):
            check(text)
    assert check(gpg.clear(key, b"x" * 9_000 + b"\n")).content == b"x" * 9_000 + b"\n"


def test_a_rotation_takes_the_old_key_and_the_new_one_and_no_third(
    gpg: Signer, key: str, other: str, check: Check
) -> None:
    third, pins = gpg.key("third"), (key, other)
    for signer_, keys in ((key, gpg.public(key)), (other, gpg.public(other)), (other, gpg.public(key, other, third))):
        assert check(SUMS, gpg.detached(signer_, SUMS), keys=keys, pins=pins).fingerprint == signer_
        assert check(gpg.clear(signer_, SUMS), keys=keys, pins=pins).fingerprint == signer_
    for keys in (gpg.public(third), gpg.public(key, other, third), gpg.public(key)):
        with pytest.raises(VerificationError):
            check(SUMS, gpg.detached(third, SUMS), keys=keys, pins=pins)
    with pytest.raises(VerificationError):
        check(SUMS, gpg.detached(other, SUMS), keys=gpg.public(key), pins=pins)


@pytest.mark.parametrize("weak", ["SHA1", "MD5", "RIPEMD160"])
def test_a_weak_hash_is_refused_however_it_is_signed(gpg: Signer, tmp_path: Path, weak: str) -> None:
    rsa = gpg.key(f"rsa-{weak}", kind="rsa2048")
    words = ("--allow-weak-digest-algos", "--digest-algo", weak)
    for document, signature in ((SUMS, gpg.detached(rsa, SUMS, *words)), (gpg.clear(rsa, SUMS, *words), None)):
        with pytest.raises(VerificationError):
            verify(document, signature, gpg.public(rsa), (rsa,), scratch=tmp_path, where="x")


def test_an_expired_subkey_is_refused(gpg: Signer, tmp_path: Path) -> None:
    then = ("--faked-system-time", "20240101T000000!")
    primary = gpg.key("old-subkey", *then)
    gpg.gpg(*then, "--quick-add-key", primary, "ed25519", "sign", "2024-02-01")
    signature = gpg.detached(primary, SUMS, *then)
    with pytest.raises(VerificationError) as caught:
        verify(SUMS, signature, gpg.public(primary), (primary,), scratch=tmp_path, where="x")
    assert "EXPKEYSIG" in str(caught.value.got)


@pytest.mark.parametrize(
    "user",
    [
        f"x\n{'[GNUPG:] GOODSIG '}x\n[GNUPG:] VALIDSIG x".encode(),
        "x\u2028[GNUPG:] GOODSIG x\u0085[GNUPG:] VALIDSIG x".encode(),
        b"\xff\xfe\xe9",
        b"%0A[GNUPG:] GOODSIG",
        b"",
    ],
)
def test_a_name_in_the_key_file_says_nothing(gpg: Signer, key: str, other: str, check: Check, user: bytes) -> None:
    """User ids are in no fingerprint: whoever serves the key file can add what he likes, and gpgv repeats it."""
    binary = gpg.public(key, armour=False)
    packet = bytes([0xCD, 0xFF]) + len(user).to_bytes(4, "big") + user
    primary = next(whole for _, whole, _ in openpgp._packets(binary))
    for keys in (binary + packet, primary + packet + binary[len(primary) :]):
        assert check(SUMS, gpg.detached(key, SUMS), keys=keys).fingerprint == key
        for document, signature in (
            (SUMS + b"x", gpg.detached(key, SUMS)),
            (SUMS, gpg.detached(other, SUMS)),
            (SUMS, b""),
        ):
            with pytest.raises(VerificationError):
                check(document, signature, keys=keys)
