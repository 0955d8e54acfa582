"""The connection to a simulated cluster: who is believed, what is tried again, and what is told of a failure."""

from __future__ import annotations

import base64
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kmi.errors import Interrupted, NetworkError, UsageError
from kmi.host import run
from kmi.kubevirt import api, kubeconfig
from kmi.kubevirt.api import Api, ApiError, connected
from kmi.kubevirt.resources import Resources
from tests.kubevirt_api import TOKEN, Simulated, authority
from tests.unit.kubevirt.conftest import QUICK


@contextmanager
def connection(cluster: Simulated, **user: Any):
    found = kubeconfig.find(environ={"KUBECONFIG": str(cluster.kubeconfig(**user))})
    with connected(found, patience=QUICK) as made:
        yield made


def refusal(made: Api, path: str = "/version", **options: Any) -> NetworkError:
    with pytest.raises(NetworkError) as caught:
        made.json("GET", path, **options)
    assert TOKEN not in str(caught.value)
    return caught.value


def test_a_token_or_a_client_certificate_lets_in(cluster: Simulated) -> None:
    with connection(cluster) as made:
        assert Resources(made).version() == cluster.version
    with connection(cluster, **{"client-certificate": "client.pem", "client-key": "client.key"}) as made:
        assert Resources(made).version() == cluster.version
    with connection(cluster, token="another-token") as made:
        error = refusal(made)
        assert isinstance(error, ApiError) and error.status == 401
        assert "kubeconfig" in str(error.hint)


def test_a_server_of_another_authority_is_not_spoken_to(cluster: Simulated, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    authority(other, another=True)
    (cluster.folder / "ca.pem").write_bytes((other / "ca.pem").read_bytes())
    with connection(cluster) as made:
        error = refusal(made)
        assert "does not answer" in error.what and "certificate" in str(error)
        with pytest.raises(NetworkError, match="cannot open a stream"):
            Resources(made).stream("x", "console")
    assert cluster.asked == []


def test_the_system_s_authorities_do_not_join_those_of_the_kubeconfig(
    cluster: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """requests takes a bundle of the environment where it was given none."""
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cluster.authority))
    path = cluster.kubeconfig()
    authority(other, another=True)
    path.write_text(path.read_text().replace('"ca.pem"', f'"{other}/ca.pem"'))
    with connected(kubeconfig.find(environ={"KUBECONFIG": str(path)}), patience=QUICK) as made:
        refusal(made)
    path.write_text(path.read_text().replace(f'"certificate-authority": "{other}/ca.pem"', '"x": ""'))
    with connected(kubeconfig.find(environ={"KUBECONFIG": str(path)}), patience=QUICK) as made:
        assert Resources(made).version() == cluster.version


def test_verification_is_off_only_where_the_kubeconfig_says_so(cluster: Simulated) -> None:
    path = cluster.kubeconfig()
    path.write_text(path.read_text().replace('"certificate-authority": "ca.pem"', '"insecure-skip-tls-verify": "true"'))
    with connected(kubeconfig.find(environ={"KUBECONFIG": str(path)}), patience=QUICK) as made:
        assert Resources(made).version() == cluster.version


def test_a_certificate_that_is_none_is_the_user_s_fault(cluster: Simulated) -> None:
    broken = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").decode()
    with pytest.raises(UsageError, match="cannot be used"):
        with connection(cluster, **{"client-certificate-data": broken, "client-key-data": broken}):
            pass


def test_errors_of_the_server_s_own_are_tried_again(cluster: Simulated) -> None:
    cluster.faults.statuses["GET version"] = [500, 503, 429]
    with connection(cluster) as made:
        assert Resources(made).version() == cluster.version
    assert len(cluster.asked) == 4


def test_refusals_are_not(cluster: Simulated) -> None:
    cluster.faults.forbid.add("GET virtualmachineinstances")
    with connection(cluster) as made:
        with pytest.raises(ApiError, match="the cluster refuses") as caught:
            Resources(made).labelled("kmi.dev/test")
    assert len(cluster.asked) == 1
    assert "cannot get resource" in str(caught.value.got) and "docs/testing.md" in str(caught.value.hint)


def test_an_expired_token_is_asked_for_again_once(cluster: Simulated) -> None:
    file = cluster.folder / "token"
    file.write_text("old-token")
    with connection(cluster, tokenFile=str(file)) as made:
        file.write_text(cluster.token)
        assert Resources(made).version() == cluster.version
        file.write_text("wrong-token")
        cluster.token = "changed-token"
        assert refusal(made).what.startswith("the cluster does not know this login")
    assert len(cluster.asked) == 4


def test_every_wait_has_an_end(cluster: Simulated) -> None:
    cluster.faults.hang = "GET version"
    began = time.monotonic()
    with connection(cluster) as made:
        assert "does not answer" in refusal(made, seconds=1.5).what
    cluster.faults.hang, cluster.faults.statuses["GET version"] = "", [500] * 99
    with connection(cluster) as made:
        assert "status 500" in str(refusal(made, seconds=1.5))
    assert time.monotonic() - began < 8


def test_a_request_to_stop_ends_the_trying(cluster: Simulated) -> None:
    cluster.faults.statuses["GET version"] = [500] * 99
    with connection(cluster) as made:
        try:
            run.stop_all()
            with pytest.raises(Interrupted):
                made.call("GET", "/version")
            cluster.faults.statuses.clear()
            assert made.call("GET", "/version", stoppable=False)
        finally:
            run.restart()


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 5000, b"\xff"])
def test_an_answer_that_is_no_object(cluster: Simulated, monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    with connection(cluster) as made:
        monkeypatch.setattr(Api, "_once", lambda *_: body)
        assert "no object" in refusal(made).what


def test_an_answer_without_end(cluster: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LIMIT", 10)
    with connection(cluster) as made:
        assert "too large" in refusal(made).what


def test_what_is_created_twice_is_one(cluster: Simulated, resources: Resources) -> None:
    """The answer to the first attempt is lost."""
    cluster.faults.lost_create = True
    made = resources.create({"metadata": {"name": "x", "labels": {"kmi.dev/test": "1"}}})
    assert made["metadata"]["uid"] and len(cluster.made) == 1


def test_only_the_object_that_was_meant_is_deleted(cluster: Simulated, resources: Resources) -> None:
    cluster.add("x", "2020-01-01T00:00:00Z")
    resources.delete("x", "another-uid")
    assert "x" in cluster.objects
    resources.delete("x", cluster.objects["x"]["metadata"]["uid"])
    resources.delete("x", "gone-already")
    assert cluster.objects == {}
