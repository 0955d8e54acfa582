"""What cosign is told when there is no key (simulated: Fulcio, Rekor and a GitHub Actions job cannot be had here)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kmi.errors import BuildError, UsageError
from kmi.host.run import Result
from kmi.oci.reference import parse
from kmi.publish import cosign, keyless
from kmi.publish.keyless import Identity

IMAGE = parse("registry.test/kmi/debian@sha256:" + "d" * 64)
JOB = {
    "GITHUB_WORKFLOW_REF": "org/images/.github/workflows/images.yml@refs/heads/main",
    "ACTIONS_ID_TOKEN_REQUEST_URL": "https://token.test/?a=b",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "the-token",
}
SUBJECT = "https://github.com/org/images/.github/workflows/images.yml@refs/heads/main"


def test_a_job_is_known_by_its_workflow() -> None:
    assert keyless.identity(JOB) == Identity(subject=SUBJECT, issuer="https://token.actions.githubusercontent.com")
    elsewhere = keyless.identity({**JOB, "GITHUB_SERVER_URL": "https://git.example"})
    assert elsewhere.subject.startswith("https://git.example/org/images/")


@pytest.mark.parametrize("lacking", JOB)
def test_without_an_identity_token_there_is_no_identity(lacking: str) -> None:
    with pytest.raises(UsageError, match="no identity to sign with"):
        keyless.identity({**JOB, lacking: ""})


Call = tuple[list[str], Mapping[str, str], bool]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Every call of cosign: its words, its environment, and whether its home was an empty folder."""
    seen: list[Call] = []

    def run(argv: list[str | Path], *, env: Mapping[str, str], **_: object) -> Result:
        home = Path(env["HOME"])
        seen.append(([str(word) for word in argv], env, home.is_dir() and not list(home.iterdir())))
        return Result(status=0 if "verify" in argv else 1, stdout="[]", stderr="Error: no")

    for name, value in JOB.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cosign.capability, "cosign", lambda: "devel")
    monkeypatch.setattr(cosign.host, "run", run)
    monkeypatch.setattr(cosign.registry, "raw_manifest", lambda _: b"{}")
    return seen


def test_signing_gets_the_job_token_and_no_key(calls: list[Call]) -> None:
    with pytest.raises(BuildError, match="cosign cannot sign"):
        cosign.sign_keyless(IMAGE, ("12", "latest"))
    ((words, env, empty_home),) = calls
    assert words[2:] == [
        "sign", "--yes", "--oidc-provider", "github-actions", "-a", "dev.kmi.repository=registry.test/kmi/debian",
        "-a", "dev.kmi.tags=12 latest", str(IMAGE),
    ]  # fmt: skip
    assert {name: env[name] for name in keyless.REQUEST} == {name: JOB[name] for name in keyless.REQUEST}
    assert empty_home and not Path(env["HOME"]).exists()
    assert not any("the-token" in word for word in words)


def test_verifying_demands_the_identity_and_its_issuer_and_the_log(calls: list[Call]) -> None:
    assert cosign.signatures(IMAGE, Identity(subject=SUBJECT)) == ()
    ((words, _, _),) = calls
    assert words[2:] == [
        "verify", "--certificate-identity", SUBJECT,
        "--certificate-oidc-issuer", "https://token.actions.githubusercontent.com", str(IMAGE),
    ]  # fmt: skip


def test_with_a_key_cosign_gets_neither_home_nor_token(calls: list[Call], tmp_path: Path) -> None:
    with pytest.raises(BuildError):
        cosign.sign(IMAGE, tmp_path / "cosign.key", "", ("12",))
    ((_, env, empty_home),) = calls
    assert not empty_home and not set(keyless.REQUEST) & set(env)
