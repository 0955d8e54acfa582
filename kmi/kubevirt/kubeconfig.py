"""Which cluster, and as whom: a kubeconfig as kubectl reads it (client-go: tools/clientcmd), or the service account of
the pod that kmi runs in.

Files are merged as kubectl does: of each name the first one counts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from kmi import documents
from kmi.documents import shown
from kmi.errors import UsageError
from kmi.kubevirt import credentials
from kmi.kubevirt.configfile import Entry, read
from kmi.kubevirt.credentials import Credential, Credentials, Plugin
from kmi.kubevirt.machine import checked_name

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where and how to connect. ``server`` has no slash at its end; ``authority`` is PEM, None for the system's;
    ``name`` is the context's, ``where`` the file that it stands in."""

    server: str
    namespace: str
    authority: bytes | None
    verify: bool
    credentials: Credentials = field(repr=False)
    name: str
    where: str


def find(
    context: str | None = None,
    namespace: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    account: Path = SERVICE_ACCOUNT,
) -> Cluster:
    """The cluster of ``context`` (default: the current one), in ``namespace`` (default: the context's). UsageError."""
    if namespace is not None:
        checked_name(namespace)
    paths = files(environ)
    tops = [top for path in paths if (top := read(path))]
    name = context or next((text for top in tops if (text := top.text("current-context"))), "")
    if name:
        return _of_context(name, tops, namespace)
    if environ.get("KUBERNETES_SERVICE_HOST") and (account / "token").exists():
        return _in_cluster(environ, account, namespace)
    looked = ", ".join(map(str, paths)) or "no file"
    hint = "set KUBECONFIG, or name one of the contexts of `kubectl config get-contexts`"
    raise UsageError("no cluster is named", expected="a current context", got="none", where=looked, hint=hint)


def files(environ: Mapping[str, str]) -> list[Path]:
    """Where a kubeconfig may lie, whether it exists or not."""
    listed = [Path(word) for word in environ.get("KUBECONFIG", "").split(os.pathsep) if word]
    return listed or [Path(environ.get("HOME") or "/nonexistent") / ".kube" / "config"]


def _of_context(name: str, tops: list[Entry], namespace: str | None) -> Cluster:
    context = _named("context", name, tops)
    cluster = _named("cluster", context.text("cluster"), tops)
    user = _named("user", context.text("user"), tops) if context.text("user") else None
    return Cluster(
        server=_server(cluster),
        namespace=namespace or _namespace(context.text("namespace") or "default", context.where),
        authority=_bytes(cluster, "certificate-authority"),
        verify=not cluster.true("insecure-skip-tls-verify"),
        credentials=_credentials(user) if user else credentials.fixed(Credential()),
        name=name,
        where=documents.place(context.path),
    )


def _named(kind: str, name: str, tops: list[Entry]) -> Entry:
    rows = [row for top in tops for row in top.rows(f"{kind}s")]
    for row in rows:
        if row.text("name") == name:
            found = row.below(kind)
            entry = Entry(value=found.value, path=found.path, title=f"{kind} {shown(name)}")
            entry.refuse(kind)
            return entry
    names = ", ".join(shown(row.text("name")) for row in rows[:20]) or "none"
    where = ", ".join(documents.place(top.path) for top in tops) or "no file"
    raise UsageError(f"no such {kind}", expected=f"one of: {names}", got=shown(name), where=where)


def _namespace(name: str, where: object) -> str:
    try:
        return checked_name(name)
    except UsageError as error:
        raise UsageError("malformed namespace", expected=error.expected, got=shown(name), where=where) from None


def _server(cluster: Entry) -> str:
    """https; plain http only to this machine itself, as ``kubectl proxy`` offers it."""
    server = cluster.text("server").rstrip("/")
    try:
        parts = urlsplit(server)
        local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
        good = parts.hostname and (parts.scheme == "https" or local) and (parts.port is None or parts.port > 0)
        good = good and not ("@" in parts.netloc or parts.query or parts.fragment) and server.isascii()
    except ValueError:
        good = False
    if not good:
        raise UsageError(
            "malformed server of a cluster", expected="https://host[:port]", got=shown(server), where=cluster.where
        )
    return server


def _bytes(entry: Entry, key: str) -> bytes | None:
    """PEM from ``<key>-data``, which comes first, or from the file under ``key``."""
    if text := entry.text(f"{key}-data"):
        return credentials.decoded(text, f"{entry.where} {key}-data")
    path = entry.file(key)
    return credentials.pem(credentials.data(path), path) if path else None


def _credentials(user: Entry) -> Credentials:
    certificate, key = _bytes(user, "client-certificate"), _bytes(user, "client-key")
    if (certificate is None) != (key is None):
        raise UsageError("a client certificate and its key belong together", where=user.where)
    pair = (certificate, key) if certificate and key else None
    if path := user.file("tokenFile"):  # client-go: it comes before token
        return credentials.token_file(path, pair)
    if text := user.text("token"):
        return credentials.fixed(Credential(token=credentials.token(text, user.where), certificate=pair))
    if pair is None and (plugin := user.below("exec")).value:
        return _plugin(plugin)
    return credentials.fixed(Credential(certificate=pair))


def _plugin(entry: Entry) -> Plugin:
    args = entry.value.get("args") or []
    command = entry.text("command")
    if not command or not isinstance(args, list) or not all(isinstance(word, str) for word in args):
        raise UsageError("malformed kubeconfig: exec", expected="a command and a list of words", where=entry.where)
    program = str(entry.file("command")) if "/" in command else command  # client-go: relative to the file
    env = dict(_pair(row) for row in entry.rows("env"))
    hint = entry.text("installHint")[:500]
    argv = (program, *args)
    if any("\0" in word for word in (*argv, *env, *env.values())):
        raise UsageError("malformed kubeconfig: exec", expected="words without NUL", where=entry.where)
    return Plugin(argv=argv, env=env, version=entry.text("apiVersion"), where=entry.path, hint=hint)


def _pair(row: Entry) -> tuple[str, str]:
    name = row.text("name")
    if not name or "=" in name:
        raise UsageError("malformed kubeconfig: exec", expected="names of variables", got=shown(name), where=row.where)
    return name, row.text("value")


def _in_cluster(environ: Mapping[str, str], account: Path, namespace: str | None) -> Cluster:
    """client-go: rest.InClusterConfig."""
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    own = credentials.data(account / "namespace").decode("latin-1").strip()
    top = Entry(
        value={"server": f"https://{f'[{host}]' if ':' in host else host}:{port}"}, path=account, title="this pod"
    )
    return Cluster(
        server=_server(top),
        namespace=namespace or _namespace(own, account / "namespace"),
        authority=credentials.pem(credentials.data(account / "ca.crt"), account / "ca.crt"),
        verify=True,
        credentials=credentials.token_file(account / "token"),
        name="this pod",
        where=str(account),
    )
