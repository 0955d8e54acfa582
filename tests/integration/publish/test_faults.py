"""What a registry that lies or fails does to push, sign and promote: what needs a hand between two requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from kmi.errors import VerificationError
from kmi.model.platform import Arch
from kmi.model.stages import Attested, OciIndex
from kmi.oci import attempts, reference, registry
from kmi.oci.trouble import Kind, RegistryError
from kmi.publish.keys import KeyPair
from kmi.publish.promote import promote
from kmi.publish.push import copy, push
from kmi.publish.sign import sign
from kmi.publish.tags import plan_tags
from tests.registry_faults import Faulty, faulty

Indexer = Callable[..., OciIndex]
Tags = Callable[[str], set[str]]
FIRST = "12-20261120-1"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_patience", 0.5)


@pytest.fixture
def proxy(host: str) -> Iterator[Faulty]:
    with faulty(host) as between:
        yield between


@pytest.fixture
def there(proxy: Faulty, repository: str) -> str:
    """The repository, by way of the proxy."""
    return repository.replace(proxy.behind, proxy.address)


def attested(made: OciIndex, repository: str, pair: KeyPair) -> Attested:
    published = push(made, repository)
    day = date(2026, 11, 20)
    return sign(published, plan_tags(published, release="12", codename="", default=False, day=day), pair)


def test_blobs_that_are_not_kept_are_found_out(index: Indexer, proxy: Faulty, there: str) -> None:
    """201 for every blob and every manifest, and 404 for the blobs when they are looked for."""
    proxy.fault("404", "HEAD", "/blobs/")
    with pytest.raises(RegistryError, match="took blobs and does not have them") as caught:
        push(index("lost", (Arch.AMD64,)), there)
    assert "/blobs/uploads/" in str(caught.value.where)
    proxy.heal()
    push(index("lost", (Arch.AMD64,)), there)


def test_a_blob_that_was_lost_once_is_brought_again(index: Indexer, proxy: Faulty, there: str) -> None:
    made = index("lost once", (Arch.AMD64,))
    rule = proxy.fault("404", "HEAD", "/blobs/", first=4, times=2)  # the first three go before the uploads
    push(made, there)
    assert rule.hit == 2
    assert proxy.asked("PATCH", "/blobs/uploads/") == 3


def test_a_manifest_that_is_not_kept_names_its_put(index: Indexer, proxy: Faulty, there: str) -> None:
    proxy.fault("lie", "PUT", "/manifests/sha256:")
    made = index("not kept", (Arch.AMD64,))
    with pytest.raises(RegistryError, match="took a manifest and does not have it") as caught:
        push(made, there)
    where = f"PUT http://{there.replace('/kmi/', '/v2/kmi/')}/manifests/"
    assert str(caught.value.where) == where + str(made.digest)


def test_an_index_that_is_not_taken_is_told_by_its_own_failure(index: Indexer, proxy: Faulty, there: str) -> None:
    """skopeo's last words are of another media type that it tried then."""
    made = index("no index", (Arch.AMD64,))
    proxy.fault("403", "PUT", f"/manifests/{made.digest}")
    with pytest.raises(RegistryError) as caught:
        push(made, there)
    assert caught.value.kind is Kind.DENIED
    assert "must be converted" not in str(caught.value)


def test_a_header_that_names_another_digest_is_not_believed(index: Indexer, proxy: Faulty, there: str) -> None:
    proxy.fault("digest", "GET|HEAD|PUT", agent="skopeo|containers")
    published = push(index("header", (Arch.AMD64,)), there)
    assert registry.resolve(reference.parse(published.reference)) == published.digest


def test_a_signature_whose_answer_was_lost_is_not_made_twice(
    index: Indexer, proxy: Faulty, there: str, pair: KeyPair, referrers: Callable[[str, object], int]
) -> None:
    rule = proxy.fault("cut", "PUT", r"/manifests/sha256-[0-9a-f]{64}$", agent="cosign")
    made = index("lost answer", (Arch.AMD64,))
    attested(made, there, pair)
    assert rule.hit
    assert [referrers(there, digest) for digest in (made.digest, made.images[0].digest)] == [1, 1]


def test_an_immutable_tag_that_is_taken_between_two_tries_is_left_alone(
    index: Indexer,
    proxy: Faulty,
    there: str,
    repository: str,
    pair: KeyPair,
    tags: Tags,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready, thief = attested(index("mine", (Arch.AMD64,)), there, pair), push(index("thief", (Arch.AMD64,)), there)
    taken = reference.parse(repository).tagged(FIRST)
    monkeypatch.setattr(attempts, "_wait", lambda _: copy(f"docker://{repository}@{thief.digest}", taken))
    proxy.fault("drop", "PUT", f"/manifests/{FIRST}$")
    with pytest.raises(VerificationError, match="immutable tag"):
        promote(ready)
    assert registry.resolve(taken) == thief.digest
    assert tags(repository) == {FIRST}


def test_a_silent_registry_is_left_within_bounds(
    index: Indexer, proxy: Faulty, there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "_patience", 0.1)
    rule = proxy.fault("hang", "PATCH", "/blobs/uploads/")
    with pytest.raises(RegistryError, match="did not take the image") as caught:
        push(index("silent", (Arch.AMD64,)), there, log=tmp_path / "log")
    assert (caught.value.kind, rule.hit) == (Kind.SILENT, 2)
    assert str(caught.value.where).startswith(f"PATCH http://{proxy.address}/v2/")
    assert "no byte moved for 1 s" in str(caught.value.got)
