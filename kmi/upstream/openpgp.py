"""OpenPGP key files (RFC 9580): armour taken off, split into keys, fingerprints computed; pure.

Only what chooses a key is read here. gpgv judges keys and signatures.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

_MARK = re.compile(rb"^-----(BEGIN|END) PGP PUBLIC KEY BLOCK-----[ \t]*\r?$", re.MULTILINE)
_PUBLIC_KEY = 6
_LIMIT = 4 << 20
"""Bytes: whole keyrings of distributions have some hundred kilobytes."""


def dearmour(key: bytes) -> bytes:
    """The binary form of a key file, all its armoured blocks joined; a binary file as it is. ValueError if neither, or
    too large."""
    if len(key) > _LIMIT:
        raise ValueError(f"{len(key)} bytes, which is too large for public keys")
    if key[:1] >= b"\x80":
        return key
    marks = list(_MARK.finditer(key))
    if not marks:
        raise ValueError("neither an armoured public key nor a binary one")
    if [mark[1] for mark in marks] != [b"BEGIN", b"END"] * (len(marks) // 2):
        raise ValueError("damaged armour: a block without its begin or its end")
    return b"".join(_block(key[a.end() : b.start()]) for a, b in zip(marks[::2], marks[1::2], strict=True))


def keys(binary: bytes) -> dict[str, bytes]:
    """The keys of a binary key file by primary fingerprint (upper-case hex), each with its user ids and subkeys.
    Primary keys of other versions than 4 are left out. ValueError if it is no sequence of packets."""
    found: dict[str, list[bytes]] = {}
    current = ""
    for tag, whole, body in _packets(binary):
        if tag == _PUBLIC_KEY:
            current = _fingerprint(body)
        if current:
            found.setdefault(current, []).append(whole)
    return {fingerprint: b"".join(packets) for fingerprint, packets in found.items()}


def _block(text: bytes) -> bytes:
    """Header lines end with an empty line (6.2.2); the checksum, a line that begins with ``=``, is optional."""
    lines = [line.strip() for line in text.split(b"\n")[1:]]
    if b"" in lines:
        lines = lines[lines.index(b"") + 1 :]
    try:
        return base64.b64decode(b"".join(line for line in lines if not line.startswith(b"=")), validate=True)
    except binascii.Error as error:
        raise ValueError(f"damaged armour: {error}") from error


def _fingerprint(body: bytes) -> str:
    """Of a version 4 key (5.5.4.2): the SHA-1 of 0x99, the length and the packet; empty for other versions."""
    if body[:1] != b"\x04" or len(body) > 0xFFFF:
        return ""
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False).hexdigest().upper()


def _packets(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Tag, whole packet and body of each packet (4.2)."""
    at = 0
    while at < len(data):
        first = data[at]
        if not first & 0x80:
            raise ValueError(f"no packet at byte {at}")
        tag, head, size = _new_format(data, at) if first & 0x40 else _old_format(data, at)
        end = at + head + size
        if end > len(data):
            raise ValueError(f"the packet at byte {at} is cut")
        yield tag, data[at:end], data[at + head : end]
        at = end


def _new_format(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, header length and body length (4.2.1). Partial lengths do not occur in keys."""
    tag, lead = data[at] & 0x3F, data[at + 1 : at + 2]
    if not lead or 224 <= lead[0] < 255:
        raise ValueError(f"the packet at byte {at} has no definite length")
    if lead[0] < 192:
        return tag, 2, lead[0]
    if lead[0] < 224:
        return tag, 3, ((lead[0] - 192) << 8) + int.from_bytes(data[at + 2 : at + 3], "big") + 192
    return tag, 6, int.from_bytes(data[at + 2 : at + 6], "big")


def _old_format(data: bytes, at: int) -> tuple[int, int, int]:
    """Tag, header length and body length (4.2.2)."""
    tag, kind = (data[at] >> 2) & 0x0F, data[at] & 0x03
    if kind == 3:
        raise ValueError(f"the packet at byte {at} has no definite length")
    width = 1 << kind
    return tag, 1 + width, int.from_bytes(data[at + 1 : at + 1 + width], "big")
