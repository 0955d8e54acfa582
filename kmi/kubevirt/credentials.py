"""What proves to a cluster who kmi is: a token, a client certificate, or a program that gives one of them
(client-go: plugin/pkg/client/auth/exec; API ``client.authentication.k8s.io``)."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kmi import documents
from kmi.documents import Unreadable
from kmi.errors import BuildError, HostError, NetworkError, UsageError
from kmi.host import redact
from kmi.host.run import run
from kmi.host.ui import plain

FILE_LIMIT = 1 << 20
_PLUGIN_SECONDS = 60.0
_TOKEN_FILE_SECONDS = 60.0
"""client-go reads a token file anew each minute: kubelets replace service accounts' tokens."""
_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_TOKEN = re.compile(r"[!-~]{1,65536}")
_PEM = b"-----BEGIN "


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """``certificate`` is certificate and key in PEM. From ``expires`` (UTC) on another one has to be asked for."""

    token: str | None = field(default=None, repr=False)
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)
    expires: datetime | None = None


Credentials = Callable[[], Credential]
"""Gives the one that is good now. UsageError, HostError, NetworkError."""


def fixed(credential: Credential) -> Credentials:
    return lambda: credential


def token(text: str, where: object) -> str:
    """The token, which nothing tells from now on. UsageError for what no HTTP header takes."""
    redact.know(text)
    if not _TOKEN.fullmatch(text):
        raise UsageError("malformed token", expected="printable ASCII without spaces", where=where)
    return text


def token_file(path: Path, certificate: tuple[bytes, bytes] | None = None) -> Credentials:
    def read() -> Credential:
        found = token(data(path).decode("latin-1").strip(), path)
        expires = datetime.now(UTC) + timedelta(seconds=_TOKEN_FILE_SECONDS)
        return Credential(token=found, certificate=certificate, expires=expires)

    return read


def data(path: Path) -> bytes:
    """What a file that a kubeconfig names holds. UsageError."""
    try:
        return documents.contents(path, FILE_LIMIT)
    except Unreadable as error:
        raise UsageError("cannot read what the kubeconfig names", got=error.fault.message, where=path) from error


def pem(found: bytes, where: object) -> bytes:
    """UsageError for what holds no PEM."""
    if _PEM not in found:
        raise UsageError("malformed certificate or key", expected="PEM", where=where)
    if b"PRIVATE KEY" in found:
        redact.know(found.decode("latin-1"))
    return found


def decoded(text: str, where: object) -> bytes:
    """The bytes of a ``…-data`` field, which are base64 of PEM. UsageError."""
    try:
        return pem(base64.b64decode("".join(text.split()), validate=True), where)
    except (binascii.Error, ValueError):
        raise UsageError("malformed certificate or key", expected="base64", where=where) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """A program that prints an ExecCredential. ``where`` is the kubeconfig that names it, ``hint`` its own advice."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    version: str
    where: Path
    hint: str = ""

    def __post_init__(self) -> None:
        if self.version not in _VERSIONS:
            raise UsageError(
                "kmi does not know this kind of credential plugin",
                expected=" or ".join(_VERSIONS),
                got=documents.shown(self.version),
                where=self.where,
            )

    def __call__(self) -> Credential:
        """Run it, without a terminal. What it prints is in no log."""
        told = {"apiVersion": self.version, "kind": "ExecCredential", "spec": {"interactive": False}}
        environ = {name: value for name, value in os.environ.items() if name != "COSIGN_PASSWORD"}
        environ |= {**self.env, "KUBERNETES_EXEC_INFO": json.dumps(told)}
        hint = self.hint or f"`kubectl` runs the same program: {self.where} names it"
        try:
            done = run(self.argv, env=environ, timeout=_PLUGIN_SECONDS, ok=tuple(range(256)))
        except HostError as error:
            raise HostError(f"{self.argv[0]} is not installed", where=self.where, hint=hint) from error
        except BuildError as error:
            what = f"{self.argv[0]} does not answer"
            raise NetworkError(what, expected=error.expected, where=self.where) from None
        if done.status:
            said = plain(redact.redact(done.stderr.strip()[-500:]))
            got = f"exit status {done.status}" + (f": {said}" if said else "")
            raise NetworkError(f"{self.argv[0]} failed", got=got, where=self.where, hint=hint)
        return self._credential(done.stdout)

    def _credential(self, printed: str) -> Credential:
        try:
            value = json.loads(printed)
            if value["apiVersion"] != self.version or value["kind"] != "ExecCredential":
                raise ValueError("another kind of answer")
            return self._of(value["status"])
        except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
            raise NetworkError(
                f"{self.argv[0]} does not answer as a credential plugin does",
                expected=f"an ExecCredential of {self.version}",
                got=type(error).__name__,  # and not its text, which may quote a token
                where=self.where,
            ) from None

    def _of(self, status: Mapping[str, Any]) -> Credential:
        text, cert, key = (status.get(k) for k in ("token", "clientCertificateData", "clientKeyData"))
        if not text and not (cert and key):
            raise ValueError("neither a token nor a certificate")
        expires = status.get("expirationTimestamp")
        return Credential(
            token=token(str(text), self.argv[0]) if text else None,
            certificate=(pem(cert.encode(), self.argv[0]), pem(key.encode(), self.argv[0])) if cert and key else None,
            expires=datetime.fromisoformat(expires).astimezone(UTC) if expires else None,
        )
