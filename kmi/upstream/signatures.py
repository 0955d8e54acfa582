"""OpenPGP signatures over checksum documents and images, judged by gpgv's status lines (GnuPG, doc/DETAILS).

gpgv's exit status proves nothing: it is 0 for an expired key and for text around a clear-signed block. So exactly one
good signature is asked for, by a key whose primary fingerprint is pinned, and only what was signed is handed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kmi.errors import VerificationError
from kmi.host.run import run
from kmi.upstream import openpgp

_BEGIN, _MIDDLE, _END = (
    b"-----BEGIN PGP SIGNED MESSAGE-----",
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----END PGP SIGNATURE-----",
)
_LONG = 10_000
"""Bytes of a line: gpgv reads about 20,000 and passes over the rest (GnuPG, g10/armor.c, MAX_LINELEN)."""
_TOO_LONG = re.compile(rb"[^\n]{%d}" % (_LONG + 1))
_MARK = re.compile(rb"^(?:- )*-----(?:BEGIN|END) [^\n]*", re.MULTILINE)
_REFUSED = ("BADSIG", "ERRSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "NODATA", "UNEXPECTED", "FAILURE", "ERROR")
_STRONG = {"8": "SHA256", "9": "SHA384", "10": "SHA512", "11": "SHA224"}
"""Hash algorithms by number (RFC 9580, 9.5) that a signature may use; 1, 2 and 3 (MD5, SHA-1, RIPEMD-160) may not."""
_TIMEOUT = 900.0
"""Seconds; a whole disk may have to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What was signed, by which primary key (fingerprint in upper-case hex), and when (UTC)."""

    content: bytes
    fingerprint: str
    made_at: datetime


def verify(
    document: bytes, signature: bytes | None, key: bytes, pinned: tuple[str, ...], *, scratch: Path, where: str
) -> Signed:
    """Check a detached ``signature``, or with None the clear signature in ``document`` itself.

    ``key`` is a key file, armoured or not; of its keys only those whose primary fingerprint is in ``pinned`` are used.
    VerificationError for anything but one valid, unexpired signature by such a key with nothing around it.
    """
    message = _written(scratch / "document", document)
    if signature is not None:
        fingerprint, made_at = verify_file(message, signature, key, pinned, scratch=scratch, where=where)
        return Signed(content=document, fingerprint=fingerprint, made_at=made_at)
    _only_block(document, where)
    output = scratch / "signed"
    output.unlink(missing_ok=True)
    fingerprint, made_at = _gpgv(["--output", output, "--", message], key, pinned, scratch, where)
    return Signed(content=output.read_bytes(), fingerprint=fingerprint, made_at=made_at)


def verify_file(
    file: Path, signature: bytes, key: bytes, pinned: tuple[str, ...], *, scratch: Path, where: str
) -> tuple[str, datetime]:
    """Check a detached ``signature`` over a file of any size, as ``verify`` does; primary fingerprint and time."""
    detached = _written(scratch / "signature", signature)
    return _gpgv(["--", detached, file.absolute()], key, pinned, scratch, where)


def _gpgv(
    words: list[str | Path], key: bytes, pinned: tuple[str, ...], scratch: Path, where: str
) -> tuple[str, datetime]:
    keyring = _written(scratch / "keyring.gpg", _choose(key, pinned, where))
    argv = ["gpgv", "--homedir", scratch, "--status-fd", "1", "--keyring", keyring.absolute(), *words]
    result = run(argv, ok=(0, 1, 2), timeout=_TIMEOUT)
    fingerprint, made_at = _judge(result.stdout, pinned, where)
    if result.status != 0:
        raise _refused("gpgv is not content", "exit status 0", f"exit status {result.status}", where)
    return fingerprint, made_at


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _choose(key: bytes, pinned: tuple[str, ...], where: str) -> bytes:
    """The pinned keys of a key file, as a binary keyring for gpgv."""
    try:
        found = openpgp.keys(openpgp.dearmour(key))
    except ValueError as error:
        raise _refused("the publisher's key cannot be read", "an OpenPGP public key", str(error), where) from error
    chosen = b"".join(packets for fingerprint, packets in found.items() if fingerprint in pinned)
    if not chosen:
        raise VerificationError(
            "the publisher's key is not the pinned one",
            expected=" or ".join(pinned),
            got=", ".join(found) or "no key",
            where=where,
            hint="if the publisher announced a new key, a person checks it and pins its fingerprint in the manifest",
        )
    return chosen


def _only_block(document: bytes, where: str) -> None:
    """Refuse text before or after a clear-signed block (RFC 9580, 7), which gpgv would pass over, a block in a block,
    and a line of which gpgv would read a part."""
    stripped = document.rstrip(b"\r\n")
    ends = (stripped.partition(b"\n")[0], stripped.rpartition(b"\n")[2])
    first, last = (line.rstrip(b" \t\r") for line in ends)
    marks = [mark[0].rstrip(b" \t\r") for mark in _MARK.finditer(stripped)]
    if marks != [_BEGIN, _MIDDLE, _END] or first != _BEGIN or last != _END:
        got = repr((first if first != _BEGIN else last)[:80].decode("utf-8", "replace"))
        raise _refused("the clear-signed document is not one whole block", "nothing before or after it", got, where)
    if longest := _TOO_LONG.search(stripped):
        got = repr(longest[0][:80].decode("utf-8", "replace"))
        raise _refused("a line of the clear-signed document is too long", f"at most {_LONG} bytes", got, where)


def _judge(status: str, pinned: tuple[str, ...], where: str) -> tuple[str, datetime]:
    """Primary fingerprint and time of the one good signature that the status lines tell of."""
    lines = [words[1:] for line in status.split("\n") if (words := line.split()) and words[0] == "[GNUPG:]"]
    bad = [words for words in lines if words[0] in _REFUSED]
    if bad:
        raise _refused("the signature is not good", "GOODSIG", "; ".join(" ".join(words) for words in bad), where)
    valid = [words for words in lines if words[0] == "VALIDSIG"]
    good = [words for words in lines if words[0] == "GOODSIG"]
    if len(valid) != 1 or len(good) != 1 or len(valid[0]) < 11:
        raise _refused("no signature to go by", "one good signature", f"{len(good)} good, {len(valid)} valid", where)
    signer, made, hashed, kind, primary = (valid[0][field] for field in (1, 3, 8, 9, 10))
    if primary not in pinned or not signer.endswith(good[0][1]):
        raise _refused("the signature is by another key", " or ".join(pinned), primary, where)
    if hashed not in _STRONG or kind not in ("00", "01"):
        strong = "a document signed with " + ", ".join(_STRONG.values())
        raise _refused("the signature is too weak", strong, f"hash algorithm {hashed}, class {kind}", where)
    return primary, datetime.fromtimestamp(int(made), UTC)


def _refused(what: str, expected: str, got: str, where: str) -> VerificationError:
    return VerificationError(what, expected=expected, got=got, where=where)
