"""Throw-away minisign and signify keys for tests, made by the real programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kmi.host.run import run


@dataclass(frozen=True, kw_only=True)
class Key:
    secret: Path
    public: str


def minisign_key(folder: Path, name: str) -> Key:
    secret, public = folder / f"{name}.key", folder / f"{name}.pub"
    run(["minisign", "-G", "-W", "-f", "-p", public, "-s", secret])
    return Key(secret=secret, public=public.read_text().splitlines()[1])


def signify_key(folder: Path, name: str) -> Key:
    secret, public = folder / f"{name}.sec", folder / f"{name}.pub"
    run(["signify-openbsd", "-G", "-n", "-p", public, "-s", secret])
    return Key(secret=secret, public=public.read_text().splitlines()[1])


def minisigned(key: Key, data: bytes, folder: Path, comment: str) -> bytes:
    (folder / "m").write_bytes(data)
    run(["minisign", "-S", "-W", "-s", key.secret, "-m", folder / "m", "-x", folder / "m.sig", "-t", comment])
    return (folder / "m.sig").read_bytes()


def signified(key: Key, data: bytes, folder: Path, *, embedded: bool = False) -> bytes:
    (folder / "s").write_bytes(data)
    run(["signify-openbsd", "-S", *(["-e"] if embedded else []), "-s", key.secret, "-m", folder / "s",
         "-x", folder / "s.sig"])  # fmt: skip
    return (folder / "s.sig").read_bytes()
