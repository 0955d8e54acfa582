"""Push, sign and promote against a real registry."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from kmi.errors import InternalError, NetworkError, VerificationError
from kmi.host.run import run
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.stages import OciIndex, Published
from kmi.oci import attempts, reference, registry
from kmi.oci.layout import INDEX, Layout
from kmi.publish import promote as promoting
from kmi.publish import sign as signing
from kmi.publish.keys import KeyPair
from kmi.publish.promote import promote
from kmi.publish.push import copy, push
from kmi.publish.sign import sign
from kmi.publish.tags import TagPlan, child_tag, plan_tags

Indexer = Callable[..., OciIndex]
Tags = Callable[[str], set[str]]
DAY = date(2026, 11, 20)
FIRST = "12-20261120-1"
PLAN = TagPlan(immutable=FIRST, moving=("12", "bookworm", "latest"))
ALL = {FIRST, f"{FIRST}-amd64", f"{FIRST}-arm64", "12", "bookworm", "latest"}


def planned(published: Published, day: date = DAY, key: Path | None = None) -> TagPlan:
    return plan_tags(published, release="12", codename="bookworm", default=True, day=day, public_key=key)


def named(repository: str, tag: str) -> Digest | None:
    return registry.exists(reference.parse(f"{repository}:{tag}"))


def test_push_by_digest_touches_no_tag_and_changes_no_byte(index: Indexer, repository: str, tags: Tags) -> None:
    made = index()
    published = push(made, repository)
    assert published.reference == f"{repository}@{made.digest}"
    assert published.children == tuple((image.id.arch, image.digest) for image in made.images)
    there = registry.raw_manifest(reference.parse(published.reference))
    assert there == Layout.open(made.layout).read(made.digest)
    assert tags(repository) == set()
    assert push(made, repository) == published


def test_second_push_uploads_nothing(index: Indexer, repository: str, requests: Callable[[str, str], int]) -> None:
    made = index()
    push(made, repository)
    assert requests("POST", f"{repository}/blobs/uploads/") == 4  # a layer and a config for each architecture
    push(made, repository)
    assert requests("POST", f"{repository}/blobs/uploads/") == 4


def test_push_refuses_a_layout_whose_root_is_not_the_index(index: Indexer, repository: str) -> None:
    made = index()
    layout = Layout.open(made.layout)
    second = layout.add_json(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    layout.set_roots((*layout.roots(), second))
    with pytest.raises(InternalError, match="only root"):
        push(made, repository)


def test_push_of_a_damaged_layout_fails(index: Indexer, repository: str) -> None:
    made = index()
    layout = Layout.open(made.layout)
    child = layout.blob(made.images[1].digest)
    damaged = child.read_bytes().replace(b"linux", b"Linux") + b" "
    child.unlink()
    child.write_bytes(damaged)
    with pytest.raises(NetworkError):
        push(made, repository)
    assert registry.exists(reference.parse(f"{repository}@{made.digest}")) is None


def test_push_to_nobody_is_a_network_error(index: Indexer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_patience", 0.3)
    with pytest.raises(NetworkError, match="did not take") as caught:
        push(index(), "127.0.0.1:9/kmi/none")
    assert "refused" in str(caught.value.got)


def test_sign_signs_each_digest_once(
    index: Indexer,
    repository: str,
    pair: KeyPair,
    referrers: Callable[[str, object], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published = push(index(), repository)
    attested = sign(published, PLAN, pair)
    assert attested.tags == PLAN.all
    digests = [published.digest, *(digest for _, digest in published.children)]
    assert [referrers(repository, digest) for digest in digests] == [1, 1, 1]
    monkeypatch.setattr(signing.cosign, "sign", lambda *_: pytest.fail("signed twice"))
    assert sign(published, PLAN, pair) == attested


def test_a_plan_with_other_tags_is_signed_anew(index: Indexer, repository: str, pair: KeyPair) -> None:
    published = push(index("renewed", (Arch.AMD64,)), repository)
    sign(published, TagPlan(immutable=FIRST, moving=("12",)), pair)
    assert sign(published, PLAN, pair).tags == PLAN.all


def test_the_password_is_in_no_log(index: Indexer, repository: str, pair: KeyPair, tmp_path: Path) -> None:
    published = push(index("quiet", (Arch.AMD64,)), repository)
    sign(published, PLAN, pair, log=tmp_path / "log")
    assert " sign --yes" in (text := (tmp_path / "log").read_text())
    assert len(pair.password) > 20
    assert pair.password not in text
    assert pair.password not in repr(pair)


def test_promote_tags_everything_and_again_does_nothing(
    index: Indexer, repository: str, pair: KeyPair, tags: Tags, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = push(index(), repository)
    attested = sign(published, planned(published), pair)
    order: list[str | None] = []
    monkeypatch.setattr(
        promoting, "copy_once", lambda source, target, log: (order.append(target.tag), copy(source, target, log=log))
    )
    promoted = promote(attested)
    assert promoted.tags == (FIRST, "12", "bookworm", "latest")
    assert order == [FIRST, f"{FIRST}-amd64", f"{FIRST}-arm64", "12", "bookworm", "latest"]
    assert tags(repository) == ALL
    assert all(named(repository, tag) == published.digest for tag in promoted.tags)
    assert [named(repository, child_tag(FIRST, arch)) for arch, _ in published.children] == [
        digest for _, digest in published.children
    ]
    assert promote(attested) == promoted
    assert len(order) == 6


def test_moving_tags_follow_and_immutable_ones_stay(index: Indexer, repository: str, pair: KeyPair) -> None:
    old, new = (push(index(content, (Arch.AMD64,)), repository) for content in ("old", "new"))
    promote(sign(old, planned(old), pair))
    plan = planned(new)
    assert plan.immutable == "12-20261120-2"
    promote(sign(new, plan, pair))
    assert (named(repository, FIRST), named(repository, "latest")) == (old.digest, new.digest)


def test_a_rerun_on_another_day_keeps_the_immutable_tag(index: Indexer, repository: str, pair: KeyPair) -> None:
    published = push(index("kept", (Arch.AMD64,)), repository)
    sign(published, planned(published), pair)
    assert planned(published, date(2026, 11, 21), pair.public).immutable == FIRST
    assert planned(published, date(2026, 11, 21)).immutable == "12-20261121-1"


@pytest.mark.parametrize("suffix", ["", "-arm64"])
def test_a_taken_immutable_tag_is_never_overwritten(
    index: Indexer, repository: str, pair: KeyPair, tags: Tags, suffix: str
) -> None:
    published, thief = push(index(), repository), push(index("thief"), repository)
    attested = sign(published, planned(published), pair)
    taken = reference.parse(repository).tagged(FIRST + suffix)
    copy(f"docker://{thief.reference}", taken)
    with pytest.raises(VerificationError, match="immutable tag") as caught:
        promote(attested)
    assert (caught.value.got, registry.resolve(taken)) == (thief.digest, thief.digest)
    assert tags(repository) == {FIRST + suffix}
    assert planned(published, DAY, pair.public).immutable == "12-20261120-2"


def test_no_tag_moves_if_an_immutable_one_fails(
    index: Indexer, repository: str, pair: KeyPair, tags: Tags, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = push(index(), repository)
    attested = sign(published, planned(published), pair)

    def fails(source: str, target: reference.Reference, log: Path | None) -> None:
        if target.tag == f"{FIRST}-arm64":
            raise NetworkError("gone")
        copy(source, target, log=log)

    monkeypatch.setattr(promoting, "copy_once", fails)
    with pytest.raises(NetworkError):
        promote(attested)
    assert tags(repository) == {FIRST, f"{FIRST}-amd64"}


def test_promote_reads_back(index: Indexer, repository: str, pair: KeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    published, other = (push(index(content, (Arch.AMD64,)), repository) for content in ("one", "other"))
    attested = sign(published, planned(published), pair)
    lie = f"docker://{other.reference}"
    monkeypatch.setattr(promoting, "copy_once", lambda source, target, log: copy(lie, target, log=log))
    with pytest.raises(VerificationError, match="meanwhile"):
        promote(attested)


def test_what_is_signed_is_readable_json(index: Indexer, repository: str, pair: KeyPair) -> None:
    """An independent look: cosign's own answer names the repository and the tags."""
    published = push(index("seen", (Arch.AMD64,)), repository)
    sign(published, PLAN, pair)
    argv = ["cosign", "verify", "--key", pair.public, "--insecure-ignore-tlog=true", published.reference]
    (claim,) = json.loads(run(argv).stdout)
    assert claim["optional"] == {"dev.kmi.repository": repository, "dev.kmi.tags": " ".join(PLAN.all)}
