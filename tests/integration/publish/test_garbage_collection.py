"""What ``docker-registry garbage-collect --delete-untagged`` leaves of an image, with and without kmi's tags."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from kmi.errors import NetworkError, VerificationError
from kmi.host.run import run
from kmi.model.stages import OciIndex, Published
from kmi.oci import reference, registry
from kmi.publish import sign as signing
from kmi.publish.attest import attest
from kmi.publish.keys import KeyPair
from kmi.publish.promote import promote
from kmi.publish.push import copy, push
from kmi.publish.sign import sign
from kmi.publish.tags import plan_tags
from kmi.publish.verify import verify
from tests.registry import registry as serving

Indexer = Callable[..., OciIndex]
RESULT: dict[str, object] = {"result": "PASSED", "configuration": [], "passedTests": ["amd64/bios ssh"]}


def publish(address: str, index: OciIndex, pair: KeyPair, day: int = 20, *, attested: bool = False) -> Published:
    published = push(index, f"{address}/kmi/debian")
    plan = plan_tags(
        published,
        release="12",
        codename="bookworm",
        default=True,
        day=date(2026, 11, day),
        public_key=pair.public,
    )
    tested = {digest: RESULT for _, digest in published.children}
    promote(sign(published, plan, pair, results=tested if attested else None))
    return published


def collect(folder: Path) -> str:
    """The registry must be down: it would go on believing its cache."""
    return run(["docker-registry", "garbage-collect", "--delete-untagged", folder / "config.yml"]).stdout


def test_what_kmi_published_survives(index: Indexer, pair: KeyPair, tmp_path: Path) -> None:
    old, new = index("old"), index("new")
    with serving(tmp_path) as address:
        publish(address, old, pair, attested=True)
        publish(address, new, pair, attested=True)  # takes the moving tags
    # Nothing but the lists that named a signature alone, before the test result joined it.
    assert "4 blobs and 4 manifests eligible for deletion" in collect(tmp_path)
    with serving(tmp_path) as here:
        for made in (old, new):
            verified = verify(f"{here}/kmi/debian@{made.digest}", pair.public, signed_for=f"{address}/kmi/debian")
            assert verified.digest == made.digest
            assert len(verified.children) == 2
            assert [[one.predicate for one in found] for _, found in verified.results] == [[RESULT], [RESULT]]
            child = reference.parse(verified.reference).pinned(verified.children[0][1])
            assert attest(child, {**RESULT, "result": "WARNED"}, pair)  # the registry takes a longer list


def test_without_the_tags_that_hold_them_signatures_are_gone_for_good(
    index: Indexer, pair: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If this fails one day, registries have become kinder, and ``kmi.publish.hold`` may go."""
    monkeypatch.setattr(signing, "hold", lambda *_, **__: None)
    made = index("unheld")
    with serving(tmp_path) as address:
        published = publish(address, made, pair)
    assert "3 manifests eligible for deletion" in collect(tmp_path)
    with serving(tmp_path) as here:
        pinned = reference.parse(f"{here}/kmi/debian@{made.digest}")
        assert all(registry.exists(pinned.pinned(digest)) for _, digest in published.children)
        with pytest.raises(VerificationError, match="no signature"):
            verify(pinned, pair.public)
        monkeypatch.setattr("kmi.oci.attempts._patience", 0.5)
        with pytest.raises(NetworkError) as caught:
            publish(here, made, pair, day=21)
        assert "MANIFEST_BLOB_UNKNOWN" in str(caught.value)


def test_without_immutable_tags_the_images_of_an_index_are_gone(index: Indexer, tmp_path: Path) -> None:
    made = index("untagged")
    with serving(tmp_path) as address:
        published = push(made, f"{address}/kmi/debian")
        copy(f"docker://{published.reference}", reference.parse(f"{address}/kmi/debian:12"))
    assert "2 manifests eligible for deletion" in collect(tmp_path)
    with serving(tmp_path) as here:
        tagged = reference.parse(f"{here}/kmi/debian:12")
        assert registry.resolve(tagged) == made.digest
        assert [registry.exists(tagged.pinned(digest)) for _, digest in published.children] == [None, None]
