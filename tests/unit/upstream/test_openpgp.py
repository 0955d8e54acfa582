"""Key files taken apart: a throw-away key whose fingerprint gpg told, and rubbish."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.upstream.openpgp import dearmour, keys

FINGERPRINT = "5166E31C528E937E1465FB54B3659AD38578782F"
ARMOURED = b"""\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawB70BYJKwYBBAHaRw8BAQdAWoMkqtSeARRNiGqPtzV/gSkQPzVJBrT1s/za
ytWprZu0I3Rocm93LWF3YXkgPHRocm93LWF3YXlAZXhhbXBsZS5vcmc+iJAEExYI
ADgWIQRRZuMcUo6TfhRl+1SzZZrThXh4LwUCawB70AIbAwULCQgHAgYVCgkICwIE
FgIDAQIeAQIXgAAKCRCzZZrThXh4L6ChAQDLlDwBveQsv3lRePSsw4cd5Rr0NAmw
n/NzciS0b/J/QgD/dfDfvhdkW+BOKiCi0HvUhEm2+IzTrf6BXJiR+Ml/WQI=
=ShZe
-----END PGP PUBLIC KEY BLOCK-----
"""


def test_a_key_is_known_by_its_fingerprint() -> None:
    binary = dearmour(ARMOURED)
    assert keys(binary) == {FINGERPRINT: binary}


def test_armour_comes_in_many_coats() -> None:
    binary = dearmour(ARMOURED)
    begin = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
    assert dearmour(binary) == binary
    assert dearmour(ARMOURED.replace(b"\n", b"\r\n")) == binary
    assert dearmour(b"The key of x:\n\n" + ARMOURED + b"\nmore text\n") == binary
    assert dearmour(ARMOURED.replace(begin, begin + b"\nVersion: GnuPG v2\nComment: <x>")) == binary
    assert dearmour(ARMOURED + ARMOURED) == binary + binary


def test_a_new_format_header_is_the_same_key() -> None:
    """RFC 9580, 4.2.1: the same packet with the other kind of header has the same fingerprint."""
    binary = dearmour(ARMOURED)
    length = binary[1]
    assert binary[0] == 0x98, "an old-format public key packet with a length of one byte"
    assert set(keys(b"\xc6" + bytes([length]) + binary[2:])) == {FINGERPRINT}
    assert set(keys(b"\xc6\xff" + length.to_bytes(4, "big") + binary[2:])) == {FINGERPRINT}


@pytest.mark.parametrize(
    "data",
    [b"", b"text", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n*\n-----END PGP PUBLIC KEY BLOCK-----\n",
     ARMOURED.replace(b"PUBLIC KEY", b"PRIVATE KEY")],
)  # fmt: skip
def test_what_is_no_key_file_says_so(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"armour|binary"):
        dearmour(data)


def test_a_cut_key_says_so() -> None:
    with pytest.raises(ValueError, match="cut"):
        keys(dearmour(ARMOURED)[:-1])


@given(st.binary(max_size=300))
def test_rubbish_is_a_value_error_or_no_key_that_counts(data: bytes) -> None:
    try:
        found = keys(dearmour(b"\x98" + data))
    except ValueError:
        return
    assert FINGERPRINT not in found


@given(st.binary(max_size=300))
def test_rubbish_in_armour(data: bytes) -> None:
    text = base64.b64encode(data)
    armoured = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n" + text + b"\n-----END PGP PUBLIC KEY BLOCK-----"
    assert dearmour(armoured) == data
