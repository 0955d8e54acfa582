"""Credentials of registries, from the files and helpers that Docker's and the containers tools share.

skopeo reads containers' files and of Docker's no ``credsStore``; cosign takes the first file that it finds, and not all
of them. So kmi looks the one login up that a reference needs (containers-auth.json(5); docker login, "Credential
stores") and hands it to both as a file that has a name only under ``/proc``: nothing secret is written to a disk, and
nothing is left of it when kmi is killed.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kmi.errors import BuildError, HostError, NetworkError, UsageError
from kmi.host import memory
from kmi.host.redact import know, know_login
from kmi.host.run import run
from kmi.oci.reference import Reference

_HELPER_SECONDS = 60.0
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_DOCKER_IO = {"docker.io": ("https://index.docker.io/v1/", "index.docker.io", "registry-1.docker.io")}
_TOKEN = "<token>"  # noqa: S105 -- the user name that says: what follows is an identity token (docker-credential-helpers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One entry as both kinds of files write it, and where it was found. Without ``entry`` there is none."""

    entry: Mapping[str, str] = field(repr=False)
    source: str

    def __str__(self) -> str:
        return f"the login in {self.source} was used" if self.entry else f"there is no login in {self.source}"


def files(environ: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
    """Where logins may lie, the first one first, whether they exist or not."""
    home = Path(environ.get("HOME") or _home())
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}")
    first = Path(environ["REGISTRY_AUTH_FILE"]) if environ.get("REGISTRY_AUTH_FILE") else None
    return (
        first or (runtime / "containers/auth.json" if environ.get("XDG_RUNTIME_DIR") else runtime / "auth.json"),
        Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "containers/auth.json",
        Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json",
    )


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without an entry in the password database, as containers have
        return Path("/nonexistent")


def find(reference: Reference, environ: Mapping[str, str] = os.environ) -> Login:
    """The login for a repository. UsageError for a file that is not readable or malformed, HostError for a helper that
    is not installed, NetworkError for one that fails."""
    looked = files(environ)
    for path in looked:
        value = _read(path)
        if entry := _entry(value, reference, path, environ):
            _remember(entry)
            return Login(entry=entry, source=str(path))
    return Login(entry={}, source=", ".join(map(str, looked)))


@contextmanager
def lent(login: Login, host: str) -> Iterator[Path | None]:
    """The path of an auth file with this one login, for programs that kmi starts in the block; None without login."""
    if not login.entry:
        yield None
        return
    with memory.file(json.dumps({"auths": {key: dict(login.entry) for key in _hosts(host)}}).encode()) as path:
        yield path


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes() or b"{}")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError("cannot read the registry logins", got=error.strerror, where=path) from error
    except ValueError as error:
        raise UsageError(
            "malformed file of registry logins", expected="JSON", got=type(error).__name__, where=path
        ) from None
    if not isinstance(value, dict):
        raise UsageError("malformed file of registry logins", expected="a JSON object", where=path)
    return value


def _entry(value: dict[str, Any], reference: Reference, path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """What a file says: a helper for the host comes before the store of all, that before the file's own entries."""
    helpers, store = value.get("credHelpers"), value.get("credsStore")
    named = [helpers[key] for key in _hosts(reference.host) if isinstance(helpers, dict) and key in helpers]
    for helper in (*named, *((store,) if store else ())):
        for server in _hosts(reference.host):
            if found := _ask(str(helper), server, path, environ):
                return found
    auths = value.get("auths")
    for key in _keys(reference):
        one = auths.get(key) if isinstance(auths, dict) else None
        if isinstance(one, dict) and (found := _plain(one, key, path)):
            return found
    return {}


def _hosts(host: str) -> tuple[str, ...]:
    return (host, *_DOCKER_IO.get(host, ()))


def _keys(reference: Reference) -> Iterator[str]:
    """The names of an entry, the most specific first: ``host/a/b``, ``host/a``, ``host``, and Docker's old URLs."""
    parts = reference.name.split("/")
    yield from ("/".join(parts[:count]) for count in range(len(parts), 1, -1))
    for host in _hosts(reference.host):
        yield from (host, f"https://{host}", f"https://{host}/", f"https://{host}/v1/", f"https://{host}/v2/")


def _plain(entry: Mapping[str, Any], key: str, path: Path) -> dict[str, str]:
    """An entry of ``auths``; empty if it holds nothing (Docker leaves such ones beside a credential store)."""
    kept = {name: str(entry[name]) for name in ("auth", "identitytoken", "registrytoken") if entry.get(name)}
    if "auth" not in kept and entry.get("username"):
        kept["auth"] = _auth(str(entry["username"]), str(entry.get("password", "")))
    try:
        decoded = base64.b64decode(kept.get("auth", ""), validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if "auth" in kept and b":" not in decoded:
        raise UsageError(f"malformed login for {key}", expected="base64 of user:password", where=path)
    return kept


def _ask(helper: str, server: str, path: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Ask a credential helper (docker-credential-helpers, "Development"); empty if it knows no login for ``server``."""
    if not _HELPER.fullmatch(helper):
        raise UsageError("malformed name of a credential helper", got=helper[:100], where=path)
    program = f"docker-credential-{helper}"
    kept = {name: value for name, value in environ.items() if name != "COSIGN_PASSWORD"}
    try:
        done = run([program, "get"], env=kept, stdin=server.encode(), timeout=_HELPER_SECONDS, ok=tuple(range(256)))
    except HostError as error:
        raise HostError(
            f"{program} is not installed", where=path, hint="this file names it as credential helper"
        ) from error
    except BuildError as error:
        raise NetworkError(f"{program} does not answer", expected=error.expected, where=path) from error
    if done.status:
        if "credentials not found" in done.stdout + done.stderr:
            return {}
        raise NetworkError(
            f"{program} failed",
            got=f"exit status {done.status}",
            where=path,
            hint=f"try it: echo {server} | {program} get",
        )
    try:
        answer = json.loads(done.stdout)
        user, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise NetworkError(
            f"{program}'s answer is not understood", expected="JSON with Username and Secret", where=path
        ) from None
    return {"auth": _auth(user, ""), "identitytoken": secret} if user == _TOKEN else {"auth": _auth(user, secret)}


def _auth(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def _remember(entry: Mapping[str, str]) -> None:
    """Have the secrets blanked wherever kmi writes."""
    know(*entry.values())
    user, _, password = base64.b64decode(entry.get("auth", "")).decode("utf-8", "replace").partition(":")
    know_login(user, password)
