"""``kmi verify`` as a stranger: a new process with an empty home that has only the reference and the public key."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kmi.host.run import run
from kmi.model.platform import Arch
from kmi.model.stages import OciIndex, Published
from kmi.oci import reference
from kmi.publish import cosign
from kmi.publish.keys import KeyPair
from kmi.publish.promote import promote
from kmi.publish.push import copy, push
from kmi.publish.sign import sign
from kmi.publish.tags import TagPlan

Indexer = Callable[..., OciIndex]
Stranger = Callable[..., "subprocess.CompletedProcess[str]"]
FIRST = "12-20261120-1"
PLAN = TagPlan(immutable=FIRST, moving=("12", "latest"))


@pytest.fixture(scope="module")
def good(index: Indexer, host: str, pair: KeyPair) -> Published:
    """A whole publication, for tests that only read it."""
    published = push(index(), f"{host}/kmi/good")
    promote(sign(published, PLAN, pair))
    return published


@pytest.fixture
def signed(index: Indexer, repository: str, pair: KeyPair) -> Published:
    """A signed index of one architecture with one tag, for tests that change what is around it."""
    published = push(index("signed", (Arch.AMD64,)), repository)
    sign(published, PLAN, pair)
    retag(published.reference, repository, "latest")
    return published


def refused(done: subprocess.CompletedProcess[str], text: str, status: int = 4) -> None:
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert text in done.stderr


def retag(source: str, repository: str, tag: str) -> None:
    copy(f"docker://{source}", reference.parse(f"{repository}:{tag}"))


def attest(subject: str, pair: KeyPair, folder: Path) -> None:
    """Attach an SBOM by the very key, as a scanner's job would."""
    (folder / "sbom.json").write_text('{"spdxVersion": "SPDX-2.3"}')
    (folder / "sc.json").write_text(
        '{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","rekorTlogConfig":{},"tsaConfig":{}}'
    )
    (folder / "tr.json").write_text('{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}')
    run(
        ["cosign", "attest", "--yes", "--key", pair.private, "--signing-config", "sc.json", "--trusted-root", "tr.json",
         "--type", "spdxjson", "--predicate", "sbom.json", subject],
        cwd=folder, env={"COSIGN_PASSWORD": pair.password},
    )  # fmt: skip


@pytest.mark.parametrize("form", ["{r}:latest", "{r}:" + FIRST, "{r}@{d}", "{r}:12@{d}"])
def test_a_good_image_verifies(good: Published, pair: KeyPair, stranger: Stranger, form: str) -> None:
    done = stranger(form.format(r=good.repository, d=good.digest), pair.public)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{good.reference}\n"
    for digest in (good.digest, *(digest for _, digest in good.children)):
        assert str(digest) in done.stderr


def test_json_tells_everything(good: Published, pair: KeyPair, stranger: Stranger) -> None:
    told = json.loads(stranger(f"{good.repository}:12", pair.public, "--json").stdout)
    assert told["reference"] == good.reference
    assert told["images"] == [{"architecture": arch, "digest": str(digest)} for arch, digest in good.children]
    assert told["tags"] == list(PLAN.all)
    assert told["key"] == str(cosign.fingerprint(pair.public))


def test_one_architecture_verifies_by_its_tag(good: Published, pair: KeyPair, stranger: Stranger) -> None:
    done = stranger(f"{good.repository}:{FIRST}-arm64", pair.public)
    assert done.stdout == f"{good.repository}@{dict(good.children)['arm64']}\n", done.stderr


def test_a_moved_tag(signed: Published, index: Indexer, pair: KeyPair, stranger: Stranger) -> None:
    other = push(index("other", (Arch.AMD64,)), signed.repository)
    sign(other, TagPlan(immutable="11-20261120-1", moving=("11",)), pair)
    assert stranger(f"{signed.repository}:latest", pair.public).returncode == 0
    retag(other.reference, signed.repository, "latest")
    refused(stranger(f"{signed.repository}:latest", pair.public), "was moved")
    assert stranger(other.reference, pair.public).returncode == 0  # each image itself is sound
    assert stranger(signed.reference, pair.public).returncode == 0


def test_a_tag_moved_to_one_of_its_own_images(signed: Published, pair: KeyPair, stranger: Stranger) -> None:
    retag(f"{signed.repository}@{dict(signed.children)['amd64']}", signed.repository, "latest")
    refused(stranger(f"{signed.repository}:latest", pair.public), "was moved")


def test_a_tag_that_left_the_pinned_digest(
    signed: Published, index: Indexer, pair: KeyPair, stranger: Stranger
) -> None:
    newer = push(index("newer", (Arch.AMD64,)), signed.repository)
    sign(newer, TagPlan(immutable="12-20261120-2", moving=("12", "latest")), pair)
    assert stranger(f"{signed.repository}:latest@{signed.digest}", pair.public).returncode == 0
    retag(newer.reference, signed.repository, "latest")
    refused(stranger(f"{signed.repository}:latest@{signed.digest}", pair.public), "names another image")


def test_only_an_sbom_by_the_same_key(
    index: Indexer, repository: str, pair: KeyPair, stranger: Stranger, tmp_path: Path
) -> None:
    published = push(index(), repository)
    for digest in (published.digest, *(digest for _, digest in published.children)):
        attest(f"{repository}@{digest}", pair, tmp_path)
    argv = ["cosign", "verify", "--key", pair.public, "--insecure-ignore-tlog=true", published.reference]
    assert run(argv).status == 0  # cosign itself is content: that is the trap
    refused(stranger(published.reference, pair.public), "the index has no signature")


def test_an_sbom_beside_the_signature_does_no_harm(
    signed: Published, pair: KeyPair, stranger: Stranger, tmp_path: Path
) -> None:
    attest(signed.reference, pair, tmp_path)
    assert stranger(f"{signed.repository}:latest", pair.public).returncode == 0


def test_another_key(good: Published, other_pair: KeyPair, stranger: Stranger) -> None:
    refused(stranger(f"{good.repository}:latest", other_pair.public), "has no signature by this key")


def test_an_unsigned_image(index: Indexer, repository: str, pair: KeyPair, stranger: Stranger) -> None:
    refused(stranger(push(index(), repository).reference, pair.public), "the index has no signature")


@pytest.mark.parametrize("left_out", ["amd64", "arm64"])
def test_an_unsigned_child(
    index: Indexer, repository: str, pair: KeyPair, stranger: Stranger, left_out: str, tmp_path: Path
) -> None:
    published = push(index(), repository)
    home = reference.parse(published.reference)
    cosign.sign(home, pair.private, pair.password, PLAN.all)
    for arch, digest in published.children:
        if arch != left_out:
            cosign.sign(home.pinned(digest), pair.private, pair.password, (f"{FIRST}-{arch}",))
        else:
            attest(f"{repository}@{digest}", pair, tmp_path)
    refused(stranger(published.reference, pair.public), f"the {left_out} image has no signature")


def test_a_signature_replayed_in_another_repository(
    good: Published, pair: KeyPair, stranger: Stranger, folder: Path
) -> None:
    """The repository copied whole, signatures included, under another name: a mirror says so, an attacker cannot."""
    repositories = folder / "data/docker/registry/v2/repositories/kmi"
    shutil.copytree(repositories / "good", repositories / "mirror")
    mirror = good.repository.replace("/good", "/mirror")
    refused(stranger(f"{mirror}:latest", pair.public), "signed for another repository")
    done = stranger(f"{mirror}:latest", pair.public, "--signed-for", good.repository)
    assert done.stdout == f"{mirror}@{good.digest}\n", done.stderr


def test_what_cannot_be_verified(good: Published, pair: KeyPair, stranger: Stranger, tmp_path: Path) -> None:
    refused(stranger(f"{good.repository}:latest", tmp_path / "none.pub"), "cannot read the public key", status=2)
    refused(stranger(f"{good.repository}:latest", pair.private), "not a public key", status=2)
    refused(stranger(good.repository, pair.public), "nothing to verify", status=2)
    refused(stranger("debian:12", pair.public), "not an image reference", status=2)
    refused(stranger(f"{good.repository}:absent", pair.public), "has no image", status=6)
    refused(stranger(f"127.0.0.1:9/kmi/debian@{good.digest}", pair.public), "refused", status=6)
