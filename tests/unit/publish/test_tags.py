from __future__ import annotations

from datetime import date

import pytest

from kmi.errors import UsageError
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.stages import Published
from kmi.oci.reference import Reference
from kmi.publish import tags

INDEX, CHILD, OTHER = (Digest(algorithm="sha256", hex=letter * 64) for letter in "abc")
PUBLISHED = Published(repository="registry.test/org/debian", digest=INDEX, children=((Arch.AMD64, CHILD),))


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Digest]:
    """What each tag names (simulated: only the look-up of a tag is)."""
    named: dict[str, Digest] = {}

    def exists(reference: Reference) -> Digest | None:
        assert reference.tag
        return named.get(reference.tag)

    monkeypatch.setattr(tags.registry, "exists", exists)
    return named


def planned(**words: object) -> tags.TagPlan:
    given = {"release": "12", "codename": "bookworm", "default": True, "day": date(2026, 11, 5), **words}
    return tags.plan_tags(PUBLISHED, **given)  # type: ignore[arg-type]


def test_a_first_build(registry: dict[str, Digest]) -> None:
    assert planned().all == ("12-20261105-1", "12", "bookworm", "latest")
    assert planned(default=False).moving == ("12", "bookworm")
    assert planned(codename="").moving == ("12", "latest")
    assert planned(codename="12").moving == ("12", "latest")


@pytest.mark.parametrize("suffix", ["", "-amd64"])
def test_the_next_number_is_free_for_index_and_images(registry: dict[str, Digest], suffix: str) -> None:
    registry["12-20261105-1" + suffix] = OTHER
    assert planned().immutable == "12-20261105-2"
    registry["12-20261105-3"] = OTHER
    assert planned().immutable == "12-20261105-2"


def test_a_tag_that_names_this_index_is_kept(registry: dict[str, Digest]) -> None:
    registry.update({"12-20261105-1": OTHER, "12-20261105-2": INDEX, "12-20261105-2-amd64": CHILD})
    assert planned().immutable == "12-20261105-2"


def test_each_image_has_its_tag() -> None:
    assert tags.immutable_tags(PUBLISHED, "12-20261105-1") == (
        ("12-20261105-1", INDEX),
        ("12-20261105-1-amd64", CHILD),
    )


@pytest.mark.parametrize("release", ["-12", "12 beta", "1" * 129])
def test_a_release_that_is_no_tag(registry: dict[str, Digest], release: str) -> None:
    with pytest.raises(UsageError, match="not an image reference"):
        planned(release=release)
