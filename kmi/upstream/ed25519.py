"""minisign and signify signatures, judged by their own programs; the pinned key is the whole trust.

Both are Ed25519 over the file (jedisct1.github.io/minisign, signify(1)). minisign's trusted comment is signed too: its
``timestamp:`` is the signature's time, and a ``file:`` in it has to be the file's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kmi.errors import BuildError, VerificationError
from kmi.host.run import run

_TIMEOUT = 900.0
"""Seconds; a whole disk may have to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """Which key signed, and when (UTC), where the signature tells."""

    key: str
    made_at: datetime | None


def minisign(message: Path, signature: bytes, key: str, *, name: str, scratch: Path, where: str) -> Signed:
    """Check a minisign signature over ``message``, which the publisher calls ``name``. VerificationError; HostError if
    minisign is not installed."""
    file = _written(scratch / "signature.minisig", signature)
    comment = _run(["minisign", "-V", "-Q", "-P", key, "-x", file, "-m", message], where).strip()
    told = re.search(r"(?:^|\s)file:(\S+)", comment)
    if told and told[1].rpartition("/")[2] != name:
        raise VerificationError("the signature is for another file", expected=name, got=told[1], where=where)
    stamp = re.search(r"(?:^|\s)timestamp:([0-9]{1,11})(?:\s|$)", comment)
    return Signed(key=key, made_at=datetime.fromtimestamp(int(stamp[1]), UTC) if stamp else None)


def signify(message: Path, signature: bytes, key: str, *, scratch: Path, where: str) -> Signed:
    """Check a signify signature over ``message``. VerificationError; HostError if signify-openbsd is not installed."""
    public = _written(scratch / "signify.pub", f"untrusted comment: pinned\n{key}\n".encode())
    file = _written(scratch / "signature.sig", signature)
    _run(["signify-openbsd", "-V", "-q", "-p", public, "-x", file, "-m", message], where)
    return Signed(key=key, made_at=None)


def signify_embedded(document: bytes, key: str, *, scratch: Path, where: str) -> tuple[bytes, Signed]:
    """What is signed in a document that begins with its own signature, such as OpenBSD's ``SHA256.sig``."""
    public = _written(scratch / "signify.pub", f"untrusted comment: pinned\n{key}\n".encode())
    whole, content = _written(scratch / "embedded.sig", document), scratch / "content"
    content.unlink(missing_ok=True)
    _run(["signify-openbsd", "-V", "-q", "-e", "-p", public, "-x", whole, "-m", content], where)
    return content.read_bytes(), Signed(key=key, made_at=None)


def _run(argv: list[str | Path], where: str) -> str:
    try:
        return run(argv, timeout=_TIMEOUT).stdout
    except BuildError as error:
        raise VerificationError(
            "the signature is not good", expected="one by the pinned key", got=error.got, where=where
        ) from error


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
