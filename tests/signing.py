"""Throw-away OpenPGP keys for tests, made by the real gpg in a home of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kmi.host.run import run


class Signer:
    """One home with any number of keys, each without a passphrase. Keys go by their primary fingerprint."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        self._home = home
        self._files = 0

    def gpg(self, *words: str | Path, ok: tuple[int, ...] = (0,)) -> str:
        base = ("gpg", "--homedir", self._home, "--batch", "--yes", "--no-tty", "--passphrase", "", "--pinentry-mode")
        return run([*base, "loopback", *words], ok=ok).stdout

    def key(self, name: str, *options: str, expires: str = "never", kind: str = "ed25519") -> str:
        before = set(self.fingerprints())
        self.gpg(*options, "--quick-gen-key", f"{name} <{name}@example.org>", kind, "sign", expires)
        return (set(self.fingerprints()) - before).pop()

    def fingerprints(self) -> list[str]:
        """The primary ones, in gpg's order."""
        lines = [line.split(":") for line in self.gpg("--with-colons", "--list-keys").splitlines()]
        return [lines[at + 1][9] for at, line in enumerate(lines) if line[0] == "pub"]

    def public(self, *fingerprints: str, armour: bool = True) -> bytes:
        path = self._file()
        self.gpg(*(["--armor"] if armour else []), "--output", path, "--export", *fingerprints)
        return path.read_bytes()

    def detached(self, key: str, document: bytes, *options: str) -> bytes:
        return self._sign(key, document, "--detach-sign", *options)

    def clear(self, key: str, document: bytes, *options: str) -> bytes:
        return self._sign(key, document, "--clear-sign", *options)

    def revoke(self, key: str) -> None:
        """With the certificate that gpg makes along with the key; a colon in it guards against accidents."""
        certificate = self._file()
        text = (self._home / "openpgp-revocs.d" / f"{key}.rev").read_text().replace(":-----BEGIN", "-----BEGIN")
        certificate.write_text(text)
        self.gpg("--import", certificate)

    def _sign(self, key: str, document: bytes, how: str, *options: str) -> bytes:
        source, target = self._file(), self._file()
        source.write_bytes(document)
        self.gpg("--local-user", key, *options, "--output", target, how, source)
        return target.read_bytes()

    def _file(self) -> Path:
        self._files += 1
        return self._home / f"file-{self._files}"


@contextmanager
def signer(folder: Path) -> Iterator[Signer]:
    """A home below ``folder``, and no agent left running."""
    home = folder / "gnupg"
    try:
        yield Signer(home)
    finally:
        run(["gpgconf", "--homedir", home, "--kill", "all"])
