"""The key pair that signs, made on first use and never overwritten.

``cosign.key`` is the private key, encrypted with a random password; the password lies beside it in
``cosign.password`` (both readable by their owner only), the public key in ``cosign.pub``. A password in
``COSIGN_PASSWORD`` comes before the file, and a key made under it leaves no password on disk.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kmi.errors import HostError, UsageError
from kmi.host.redact import know
from kmi.host.store import write_text
from kmi.publish import cosign
from kmi.publish.keyless import Identity

VARIABLE = "COSIGN_PASSWORD"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A private key with its password, and its public half. ``created`` tells whether this call made it."""

    private: Path
    public: Path
    password: str = field(repr=False)
    created: bool


def proof(signer: KeyPair | Identity) -> Path | Identity:
    """What others verify the signer's signatures with."""
    return signer.public if isinstance(signer, KeyPair) else signer


def ensure(private: Path, environ: Mapping[str, str] = os.environ, log: Path | None = None) -> KeyPair:
    """The key pair at ``private`` (``Settings.key``), made if there is none.

    UsageError if the key or its password can be read by others, or its password is nowhere; BuildError if the password
    is wrong; HostError if the folder cannot be written.
    """
    public, password = private.with_suffix(".pub"), private.with_suffix(".password")
    if private in (public, password):
        raise UsageError("the private key must not end in .pub or .password", got=private)
    with _locked(private.parent):
        created = not private.exists()
        if created:
            _create(private, public, password, environ, log)
        word = _password(private, password, environ)
        know(word)
        if not public.exists():
            write_text(public, cosign.public_key(private, word))
    return KeyPair(private=private, public=public, password=word, created=created)


@contextmanager
def held(pair: KeyPair) -> Iterator[None]:
    """Hold the key: one kmi process at a time signs with it, so none loses another's entry in a list of referrers."""
    with pair.private.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise HostError("no folder for the signing key", got=error, hint="name the key with KMI_KEY=FILE") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _create(private: Path, public: Path, password: Path, environ: Mapping[str, str], log: Path | None) -> None:
    """Make the pair in a private folder beside the target. First the password, then the private key, then the public
    one, which can be had from it: whatever a kill leaves, the next call goes on from there."""
    if public.exists():
        raise UsageError(
            "there is a public key without its private key",
            got=public,
            hint=f"put {private.name} back beside it, or move {public.name} away to get a new pair",
        )
    try:
        if VARIABLE not in environ and not password.exists():
            _write_private(password, secrets.token_urlsafe(24) + "\n")
        with tempfile.TemporaryDirectory(dir=private.parent, prefix=".new-key-") as folder:
            key, pub = cosign.generate(Path(folder), _password(private, password, environ), log)
            key.chmod(0o600)
            os.link(key, private)  # fails where there is one, unlike a rename
            write_text(public, pub.read_text(encoding="ascii"))
    except OSError as error:
        raise HostError("cannot write the signing key", got=error, where=private.parent) from error


def _password(private: Path, password: Path, environ: Mapping[str, str]) -> str:
    """The key's password, once nobody else can read what must be secret."""
    if VARIABLE in environ:
        _check_modes(private)
        return environ[VARIABLE]
    _check_modes(private, password)
    try:
        return password.read_text(encoding="utf-8").rstrip("\n")
    except FileNotFoundError:
        raise UsageError(
            "no password for the signing key",
            expected=f"{VARIABLE} in the environment, or the file {password}",
            hint=f"a key without password: {VARIABLE}= (set, and empty)",
            where=private,
        ) from None


def _check_modes(*files: Path) -> None:
    for file in files:
        if file.exists() and (mode := file.stat().st_mode & 0o777) & 0o077:
            raise UsageError(
                "others can read the signing key or its password",
                expected="mode 0600",
                got=f"mode {mode:04o}",
                where=file,
                hint=f"chmod 600 {file}; if the machine has other users, make a new key",
            )


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all, and never over another."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.link(name, path)
    finally:
        Path(name).unlink()
