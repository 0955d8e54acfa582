"""Kubeconfigs: what kubectl writes is taken, what is odd is refused with its place, and no secret is told."""

from __future__ import annotations

import base64
import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kmi.errors import HostError, NetworkError, UsageError
from kmi.host import redact
from kmi.kubevirt import kubeconfig
from kmi.kubevirt.kubeconfig import Cluster

TOKEN = "canary-kube-7Hq2xZ"
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\ncanaryKEY+/x9\n-----END PRIVATE KEY-----\n"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config(**parts: Any) -> dict[str, Any]:
    """A whole kubeconfig; ``cluster``, ``user`` and ``context`` replace those parts."""
    return {
        "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": "one",
        "clusters": [{"name": "c", "cluster": parts.get("cluster", {"server": "https://api.example:6443/"})}],
        "users": [{"name": "u", "user": parts.get("user", {"token": TOKEN})}],
        "contexts": [{"name": "one", "context": parts.get("context", {"cluster": "c", "user": "u"})}],
    }  # fmt: skip


def write(folder: Path, value: object, name: str = "config") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def find(path: Path | str, *words: str | None, **environ: str) -> Cluster:
    return kubeconfig.find(*words, environ={"KUBECONFIG": str(path), **environ}, account=Path("/nonexistent"))


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        find(path)
    told = str(caught.value)
    assert str(path) in told or path.name in told, told
    return told


def test_a_token_and_the_defaults(tmp_path: Path) -> None:
    found = find(write(tmp_path, config()))
    assert (found.server, found.namespace, found.authority, found.verify) == (
        "https://api.example:6443", "default", None, True,
    )  # fmt: skip
    assert found.credentials().token == TOKEN
    assert TOKEN not in repr(found) + repr(found.credentials())
    assert redact.redact(f"x {TOKEN} y") == "x *** y"


def test_certificates_come_from_data_or_from_files_beside_the_kubeconfig(tmp_path: Path) -> None:
    write(tmp_path, PEM + "file", "ca.pem")
    write(tmp_path, KEY, "key.pem")
    cluster = {"server": "https://h", "certificate-authority": "ca.pem"}
    user = {"client-certificate-data": b64(PEM), "client-key": str(tmp_path / "key.pem")}
    found = find(write(tmp_path, config(cluster=cluster, user=user)))
    assert found.authority == (PEM + "file").encode()
    assert found.credentials().certificate == (PEM.encode(), KEY.encode())
    both = find(write(tmp_path, config(cluster={**cluster, "certificate-authority-data": b64(PEM)})))
    assert both.authority == PEM.encode(), "data comes before a file"
    assert "canaryKEY" not in redact.redact("canaryKEY+/x9")


def test_a_token_file_is_read_anew_and_comes_before_a_token(tmp_path: Path) -> None:
    file = write(tmp_path, "first\n", "token")
    found = find(write(tmp_path, config(user={"token": TOKEN, "tokenFile": "token"})))
    first = found.credentials()
    assert first.token == "first" and first.expires and first.expires > datetime.now(UTC)
    file.write_text("second")
    assert found.credentials().token == "second"


def test_files_are_merged_and_the_first_of_a_name_counts(tmp_path: Path) -> None:
    first = write(tmp_path, {"current-context": "two", "contexts": [
        {"name": "two", "context": {"cluster": "c", "user": "u", "namespace": "mine"}}]}, "a")  # fmt: skip
    second = write(tmp_path, config(), "b")
    third = write(tmp_path, config(cluster={"server": "https://other"}), "c")
    found = find(f"{first}:{tmp_path}/absent::{second}:{third}")
    assert (found.name, found.namespace, found.server) == ("two", "mine", "https://api.example:6443")
    assert find(f"{first}:{second}", "one").namespace == "default"
    assert find(f"{first}:{second}", None, "given").namespace == "given"


def test_yaml_with_nulls_as_an_empty_kubectl_writes_it(tmp_path: Path) -> None:
    text = "apiVersion: v1\nclusters: null\ncontexts: null\ncurrent-context: ''\nkind: Config\nusers: null\n"
    assert "no cluster is named" in refused(write(tmp_path, text))
    with pytest.raises(UsageError, match="no such context") as caught:
        find(write(tmp_path, text), "one")
    assert "none" in str(caught.value)


def test_only_a_literal_true_turns_verification_off(tmp_path: Path) -> None:
    for word, verify in (("true", False), ("false", True), ("", True)):
        text = json.dumps(config(cluster={"server": "https://h", "insecure-skip-tls-verify": "@"})).replace('"@"', word)
        assert find(write(tmp_path, text.replace('verify": }', 'verify": ""}'))).verify is verify
    wrong = config(cluster={"server": "https://h", "insecure-skip-tls-verify": "yes"})
    assert "true or false" in refused(write(tmp_path, wrong))


HOSTILE: dict[str, tuple[object, str]] = {
    "no YAML": ("a: [", "malformed"),
    "a list": ("[]\n- a", "malformed"),
    "a list alone": ("- a\n- b\n", "a mapping"),
    "nothing": ("", "no cluster is named"),
    "a second document": ("a: b\n---\nc: d\n", "malformed"),
    "a bomb": ("a: &a [x]\nb: [*a, *a]\n", "aliases"),
    "a tag": ("a: !!python/object/apply:os.system ['true']\n", "tags"),
    "depth": ("a: " + "[" * 500, "levels"),
    "control characters": ('{"a": "\x07"}', "cannot be seen"),
    "another direction": ("a: \u202ex\n", "cannot be seen"),
    "not UTF-8": ("\udc80", "UTF-8"),
    "size": ("a: " + "x" * (1 << 21), "larger"),
    "clusters as text": ({**config(), "clusters": "c"}, "a list of mappings"),
    "clusters of text": ({**config(), "clusters": ["c"]}, "a list of mappings"),
    "a cluster as text": (config(cluster="c"), "a mapping"),
    "a server as a list": (config(cluster={"server": ["https://h"]}), "text"),
    "no server": (config(cluster={}), "https://host"),
    "plain http": (config(cluster={"server": "http://api.example"}), "https://host"),
    "a file": (config(cluster={"server": "file:///etc/passwd"}), "https://host"),
    "a login in the server": (config(cluster={"server": "https://me:pw@h"}), "https://host"),
    "a broken server": (config(cluster={"server": "https://[::1"}), "https://host"),
    "a port too high": (config(cluster={"server": "https://h:99999"}), "https://host"),
    "a query": (config(cluster={"server": "https://h/?a"}), "https://host"),
    "a proxy": (config(cluster={"server": "https://h", "proxy-url": "http://p"}), "proxy-url"),
    "another name": (config(cluster={"server": "https://h", "tls-server-name": "x"}), "tls-server-name"),
    "impersonation": (config(user={"token": TOKEN, "as": "root"}), "support as "),
    "a password": (config(user={"username": "u", "password": TOKEN}), "username"),
    "an old plugin": (config(user={"auth-provider": {"name": "gcp"}}), "auth-provider"),
    "no such cluster": (config(context={"cluster": "x", "user": "u"}), "no such cluster"),
    "no such user": (config(context={"cluster": "c", "user": "x"}), "no such user"),
    "a namespace": (config(context={"cluster": "c", "namespace": "../kube-system"}), "malformed namespace"),
    "a token with a line end": (config(user={"token": f"{TOKEN}\nX-Evil: 1"}), "malformed"),
    "a half certificate": (config(user={"client-certificate-data": b64(PEM)}), "belong together"),
    "no base64": (config(user={"client-certificate-data": "%%"}), "base64"),
    "no PEM": (config(user={"client-certificate-data": b64("x")}), "PEM"),
    "a file that is not there": (config(user={"client-certificate": "none"}), "cannot be read"),
    "a device": (config(cluster={"server": "https://h", "certificate-authority": "/dev/zero"}), "regular"),
    "a path with NUL": ('{"current-context": "a", "x": "\\u0000"}', "no such context"),
    "a plugin without a command": (config(user={"exec": {"apiVersion": "x"}}), "a command"),
    "a plugin's args": (config(user={"exec": {"command": "x", "args": "y"}}), "a command"),
    "a plugin of another kind": (
        config(user={"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}}), "v1beta1"),
    "a plugin's variable": (
        config(user={"exec": {"command": "x", "env": [{"name": "A=B", "value": "c"}]}}), "names of variables"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_odd_is_refused(tmp_path: Path, case: str) -> None:
    value, says = HOSTILE[case]
    path = tmp_path / "config"
    text = value if isinstance(value, str) else json.dumps(value)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as caught:
        find(path)
    told = str(caught.value)
    assert says in told
    assert TOKEN not in redact.redact(told) and TOKEN not in told
    assert told.isprintable() or "\n" in told
    assert caught.value.where


def test_a_broken_line_is_not_quoted(tmp_path: Path) -> None:
    told = refused(write(tmp_path, f"users:\n- name: a\n  user: {{token: {TOKEN}, [}}\n"))
    assert TOKEN not in told and ":3" in told


def test_plain_http_only_to_this_machine(tmp_path: Path) -> None:
    assert find(write(tmp_path, config(cluster={"server": "http://127.0.0.1:8001"}))).server == "http://127.0.0.1:8001"


def test_nothing_at_all_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no cluster is named") as caught:
        kubeconfig.find(environ={"HOME": str(tmp_path)}, account=tmp_path)
    assert caught.value.where == f"{tmp_path}/.kube/config"


def test_the_service_account_of_a_pod(tmp_path: Path) -> None:
    write(tmp_path, "pod-token-123", "token")
    write(tmp_path, PEM, "ca.crt")
    write(tmp_path, "builds", "namespace")
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443", "HOME": str(tmp_path)}
    found = kubeconfig.find(environ=environ, account=tmp_path)
    assert (found.server, found.namespace, found.verify) == ("https://[fd00::1]:6443", "builds", True)
    assert found.credentials().token == "pod-token-123"
    assert found.authority == PEM.encode()


def plugin(folder: Path, script: str, **extra: Any) -> Cluster:
    program = folder / "bin" / "login"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./bin/login", **extra}
    return find(write(folder, config(user={"exec": found})))


def answer(**status: str) -> str:
    value = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"cat <<'EOF'\n{json.dumps(value)}\nEOF"


def test_a_plugin_beside_the_kubeconfig_gives_a_token(tmp_path: Path) -> None:
    check = 'test "$A $1" = "b c" || exit 3\ncase $KUBERNETES_EXEC_INFO in *ExecCredential*) ;; *) exit 4;; esac\n'
    found = plugin(
        tmp_path, check + answer(token=TOKEN, expirationTimestamp="2030-01-01T00:00:00Z"),
        args=["c"], env=[{"name": "A", "value": "b"}],
    ).credentials()  # fmt: skip
    assert found.token == TOKEN and found.expires == datetime(2030, 1, 1, tzinfo=UTC)


def test_a_plugin_may_give_a_certificate(tmp_path: Path) -> None:
    found = plugin(tmp_path, answer(clientCertificateData=PEM, clientKeyData=KEY)).credentials()
    assert found.certificate == (PEM.encode(), KEY.encode()) and found.token is None


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (f"echo {TOKEN}; echo no session >&2; exit 1", "no session"),
        (f"echo '{TOKEN}'", "ExecCredential"),
        ("echo '[1]'", "ExecCredential"),
        ("printf '%s' " + "[" * 3000, "ExecCredential"),
        (answer(), "ExecCredential"),
        (answer(token=TOKEN, expirationTimestamp="soon"), "ExecCredential"),
        (answer(clientCertificateData=PEM), "ExecCredential"),
    ],
)
def test_a_plugin_that_fails_is_told_without_what_it_printed(tmp_path: Path, script: str, says: str) -> None:
    with pytest.raises(NetworkError) as caught:
        plugin(tmp_path, script).credentials()
    assert says in str(caught.value) and TOKEN not in str(caught.value)


def test_a_plugin_that_is_not_there(tmp_path: Path) -> None:
    found = plugin(tmp_path, "true", command="kmi-no-such-plugin", installHint="get it at example.org")
    with pytest.raises(HostError, match="not installed") as caught:
        found.credentials()
    assert caught.value.hint == "get it at example.org"
