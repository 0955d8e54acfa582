"""Logins from every standard file and from helpers, for skopeo and cosign alike, at registries that demand them."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from kmi.errors import HostError, NetworkError, UsageError
from kmi.host.redact import redact
from kmi.model.platform import Arch
from kmi.model.stages import OciIndex
from kmi.oci import attempts, logins, reference, registry
from kmi.oci.trouble import Kind, RegistryError
from kmi.publish import cosign
from kmi.publish.keys import KeyPair
from kmi.publish.promote import promote
from kmi.publish.push import push
from kmi.publish.sign import sign
from kmi.publish.tags import plan_tags
from kmi.publish.verify import verify
from tests.registry import registry as started
from tests.registry_faults import Faulty, Tokens, faulty

Indexer = Callable[..., OciIndex]
Put = Callable[..., Path]
USER, PASSWORD = "builder", "canary-5Gq8 p@ss:word/"
BCRYPT = "$2b$05$qgEKltwmWR7q3Qz8yXs2vO.CY5xqkcEoIk/hfFU4FdCf13k76vL7C"
REFRESH = "canary-refresh-0815"
HELPER = """\
#!/bin/sh
# The helper protocol: `get`, the server on stdin (docker-credential-helpers).
test "$1" = get || exit 2
read -r server
echo "$server" >> "$0.asked"
test "$server" = "{host}" || {{ echo "credentials not found in native keychain"; exit 1; }}
echo '{answer}'
"""


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that lets nobody in without the login."""
    with started(tmp_path_factory.mktemp("locked"), htpasswd=f"{USER}:{BCRYPT}\n") as address:
        yield address


@pytest.fixture
def public(host: str) -> Iterator[Faulty]:
    """A registry that everybody may read, and that knows tokens."""
    with faulty(host) as proxy:
        proxy.guard = Tokens(proxy, USER, PASSWORD, REFRESH)
        yield proxy


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment in which nobody is logged in anywhere."""
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(attempts, "_patience", 1.0)
    return tmp_path / "home"


@pytest.fixture
def put(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Put:
    """Write a file of logins to one of the places."""
    places = {
        "REGISTRY_AUTH_FILE": (tmp_path / "a.json", tmp_path / "a.json"),
        "XDG_RUNTIME_DIR": (tmp_path / "run", tmp_path / "run/containers/auth.json"),
        "XDG_CONFIG_HOME": (tmp_path / "config", tmp_path / "config/containers/auth.json"),
        "DOCKER_CONFIG": (tmp_path / "docker", tmp_path / "docker/config.json"),
        "~/.config": (None, home / ".config/containers/auth.json"),
        "~/.docker": (None, home / ".docker/config.json"),
    }

    def write(place: str, value: Any) -> Path:
        variable, path = places[place]
        if variable:
            monkeypatch.setenv(place, str(variable))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, str], Path]:
    """Put ``docker-credential-test`` on PATH; it knows one host."""

    def write(host: str, user: str, secret: str) -> Path:
        path = tmp_path / "bin" / "docker-credential-test"
        path.parent.mkdir()
        answer = json.dumps({"ServerURL": host, "Username": user, "Secret": secret})
        path.write_text(HELPER.format(host=host, answer=answer))
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
        return path

    return write


def auth(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def both_tools_are_let_in(made: OciIndex, repository: str, key: Path, log: Path) -> None:
    published = push(made, repository, log=log)
    assert cosign.signatures(reference.parse(published.reference), key, log) == ()
    assert PASSWORD not in log.read_text()
    assert auth()["auth"] not in log.read_text()


@pytest.mark.parametrize(
    "place", ["REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "~/.config", "~/.docker"]
)
def test_every_standard_file(locked: str, put: Put, index: Indexer, pair: KeyPair, tmp_path: Path, place: str) -> None:
    path = put(place, {"auths": {locked: auth()}})
    made = index("files", (Arch.AMD64,))
    both_tools_are_let_in(made, f"{locked}/kmi/files", pair.public, tmp_path / "log")
    assert logins.find(reference.parse(f"{locked}/kmi/files")).source == str(path)


@pytest.mark.parametrize("how", ["credHelpers", "credsStore"])
@pytest.mark.parametrize("place", ["~/.docker", "XDG_RUNTIME_DIR"])
def test_helpers(
    locked: str, put: Put, helper, index: Indexer, pair: KeyPair, tmp_path: Path, place: str, how: str
) -> None:
    asked = helper(locked, USER, PASSWORD).with_name("docker-credential-test.asked")
    named = {
        "credHelpers": {"credHelpers": {locked: "test"}},
        "credsStore": {"credsStore": "test", "auths": {locked: {}}},
    }
    put(place, named[how])
    both_tools_are_let_in(index("helpers", (Arch.AMD64,)), f"{locked}/kmi/helpers", pair.public, tmp_path / "log")
    assert set(asked.read_text().split()) == {locked}


def test_a_helper_that_knows_nothing_is_passed_over(locked: str, put: Put, helper) -> None:
    helper("elsewhere.test", USER, PASSWORD)
    put("XDG_RUNTIME_DIR", {"credsStore": "test"})
    path = put("~/.docker", {"auths": {f"https://{locked}/v2/": {"username": USER, "password": PASSWORD}}})
    login = logins.find(reference.parse(f"{locked}/kmi/x"))
    assert (login.source, dict(login.entry)) == (str(path), auth())


def test_the_most_specific_entry_and_the_first_file_win(locked: str, put: Put) -> None:
    put("~/.docker", {"auths": {locked: auth("last")}})
    put(
        "XDG_RUNTIME_DIR",
        {"auths": {f"{locked}/kmi/x": auth("deep"), f"{locked}/kmi": auth("half"), locked: auth("host")}},
    )
    found = {path: logins.find(reference.parse(f"{locked}/{path}")).entry["auth"] for path in ("kmi/x", "kmi/y", "z")}
    assert found == {path: auth(user)["auth"] for path, user in (("kmi/x", "deep"), ("kmi/y", "half"), ("z", "host"))}
    put("REGISTRY_AUTH_FILE", {"auths": {locked: auth("first")}})
    assert logins.find(reference.parse(f"{locked}/kmi/x")).entry == auth("first")


def test_the_whole_way_with_a_token(
    public: Faulty, put: Put, index: Indexer, pair: KeyPair, tags, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is logged in pushes, signs and tags; who is not may still verify."""
    repository = repository.replace(public.behind, public.address)
    path = put("~/.docker", {"auths": {public.address: auth()}})
    published = push(index("token", (Arch.AMD64,)), repository)
    plan = plan_tags(published, release="12", codename="", default=True, day=date(2026, 11, 20))
    promote(sign(published, plan, pair))
    path.unlink()
    assert verify(f"{repository}:12", pair.public).digest == published.digest
    with pytest.raises(RegistryError) as caught:
        push(index("token", (Arch.AMD64,)), f"{repository}-other")
    assert caught.value.kind is Kind.LOGIN
    assert f"skopeo login {public.address}" in str(caught.value.hint)
    assert all(PASSWORD not in (one.authorization or "") for one in public.seen)


def test_an_identity_token_of_a_helper(
    public: Faulty, put: Put, helper, index: Indexer, pair: KeyPair, tmp_path: Path
) -> None:
    helper(public.address, "<token>", REFRESH)
    put("~/.docker", {"credHelpers": {public.address: "test"}})
    made = index("identity", (Arch.AMD64,))
    both_tools_are_let_in(made, f"{public.address}/kmi/identity", pair.public, tmp_path / "log")
    assert REFRESH not in (tmp_path / "log").read_text()


def test_a_wrong_password_is_told_and_not_shown(locked: str, put: Put, index: Indexer, pair: KeyPair) -> None:
    path = put("XDG_RUNTIME_DIR", {"auths": {locked: auth(password="canary-wrong-4711")}})
    made = index("wrong", (Arch.AMD64,))
    subject = reference.parse(f"{locked}/kmi/wrong").pinned(made.digest)
    for act in (
        lambda: push(made, subject.name),
        lambda: registry.raw_manifest(subject),
        lambda: cosign.signatures(subject, pair.public),
    ):
        with pytest.raises(RegistryError) as caught:
            act()
        assert (caught.value.exit_code, caught.value.kind) == (6, Kind.LOGIN)
        assert f"the login in {path} was used" in str(caught.value.hint)
        assert "canary-wrong-4711" not in str(caught.value)
        assert auth(password="canary-wrong-4711")["auth"] not in str(caught.value)
    assert redact("it was canary-wrong-4711") == "it was ***"


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ("{", UsageError, "malformed file"),
        ("[]", UsageError, "malformed file"),
        ({"auths": {"r.test": {"auth": "no base64"}}}, UsageError, "malformed login for r.test"),
        ({"credsStore": "../../bin/sh"}, UsageError, "malformed name"),
        ({"credHelpers": {"r.test": "absent"}}, HostError, "docker-credential-absent is not installed"),
        ({"credHelpers": {"r.test": "test"}}, NetworkError, "not understood"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_file(put: Put, helper, value: Any, error: type, words: str) -> None:
    helper("r.test", USER, PASSWORD).write_text('#!/bin/sh\necho \'{"Secret": "canary-4711"}\'\n')
    path = put("~/.docker", value)
    with pytest.raises(error, match=words) as caught:
        logins.find(reference.parse("r.test/x"))
    assert caught.value.where == path
    assert "canary-4711" not in str(caught.value)


def test_what_is_lent_lies_on_no_disk(locked: str, put: Put) -> None:
    put("~/.docker", {"auths": {locked: auth()}})
    login = logins.find(reference.parse(f"{locked}/x"))
    assert PASSWORD not in repr(login)
    with logins.lent(login, locked) as path:
        assert path is not None
        assert json.loads(path.read_text()) == {"auths": {locked: auth()}}
        assert str(path.readlink()).startswith("/memfd:")
    assert not path.exists()
