"""Logging in to a guest with a key that is thrown away."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kmi.errors import BuildError
from kmi.host.run import Result, run

HOST = "127.0.0.1"
LIMIT = 16 * 1024**2
"""Bytes that ssh may read in one session, its own libraries and files included. What kmi asks for takes some KiB."""
_DENIED = re.compile(r"Permission denied \(([a-z0-9@.,-]{1,500})\)")
UNREACHED = 255
"""OpenSSH's own exit status when it could not connect or log in (ssh(1), EXIT STATUS)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An OpenSSH key pair: the private key's file and the public key's line."""

    private: Path
    public: str


def new_key(folder: Path) -> Key:
    private = folder / "id_ed25519"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "kmi", "-f", private])
    return Key(private=private, public=private.with_suffix(".pub").read_text(encoding="ascii").strip())


def command(
    *, user: str, port: int, key: Key | None, seconds: float = 60.0, method: str = "publickey"
) -> list[str | Path]:
    """ssh with all its options and the destination; a command may follow. ``-F none``: nothing of the host's own
    configuration takes part. ``method`` is the one way to log in that is tried. ``user`` may be any image's word: as an
    option's value it never is one itself, and half of a surrogate pair, which no argument can hold, becomes ``?``."""
    options = {
        "BatchMode": "yes",
        "ConnectTimeout": str(int(seconds)),
        "GlobalKnownHostsFile": "/dev/null",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "PreferredAuthentications": method,
        "StrictHostKeyChecking": "no",  # every boot makes new host keys
        "UserKnownHostsFile": "/dev/null",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    identity: list[str | Path] = ["-i", key.private] if key else []
    return ["ssh", "-F", "none", *words, *identity, "-p", str(port), "-l", user.encode(errors="replace").decode(), HOST]


def execute(script: str, *, user: str, port: int, key: Key, seconds: float = 60.0) -> Result:
    """Run a shell command in the guest; status 255 means that it was never reached."""
    return _run([*command(user=user, port=port, key=key, seconds=seconds), script], seconds)


def methods(*, user: str, port: int, seconds: float = 60.0) -> frozenset[str] | None:
    """By which ways the server lets this user try to log in: what it answers to the method ``none`` (RFC 4252, 5.2),
    which is itself among them if that opened the door. None if the server did not say."""
    tried = _run([*command(user=user, port=port, key=None, seconds=seconds, method="none"), "true"], seconds)
    if tried.status != UNREACHED:
        return frozenset({"none"})
    answer = _DENIED.search(tried.stderr)
    return frozenset(answer[1].split(",")) if answer else None


def denied(result: Result) -> bool:
    """Whether the server was reached and refused the login."""
    return result.status == UNREACHED and "Permission denied" in result.stderr


def _run(argv: Sequence[str | Path], seconds: float) -> Result:
    try:
        return run(argv, timeout=seconds, stuck=flooded, ok=tuple(range(256)))
    except BuildError as error:
        return Result(status=UNREACHED, stdout="", stderr=error.what)


def flooded(pid: int) -> bool:
    """Whether a running ssh has taken in more than any answer (proc(5), ``rchar`` in /proc/PID/io)."""
    try:
        rows = Path(f"/proc/{pid}/io").read_text(encoding="ascii").split()
    except OSError:
        return False
    return int(rows[rows.index("rchar:") + 1]) > LIMIT


def banner(port: int, *, seconds: float = 10.0) -> str | None:
    """The guest's SSH identification line (RFC 4253, 4.2), None if nobody says one yet. QEMU accepts the connection
    before the guest does, so being connected proves nothing."""
    try:
        with socket.create_connection((HOST, port), timeout=seconds) as connection:
            text = connection.recv(255).decode("ascii", errors="replace").strip()
    except OSError:
        return None
    return text if text.startswith("SSH-") else None


def host_keys(port: int, *, seconds: int = 20) -> tuple[str, ...]:
    """The guest's public host keys (``type base64``), sorted; empty if it did not answer in time. One kind after the
    other: left alone, ssh-keyscan opens five connections at once, of which a slow guest was seen to lose some."""
    keys = set()
    for kind in ("ed25519", "ecdsa", "rsa"):
        argv = ["ssh-keyscan", "-t", kind, "-T", str(seconds), "-p", str(port), HOST]
        found = _run(argv, seconds * 3.0)
        words = (line.split() for line in found.stdout.splitlines() if not line.startswith("#"))
        keys |= {f"{line[1]} {line[2]}" for line in words if len(line) == 3}
    return tuple(sorted(keys))
