from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.model import metadata
from kmi.model.codec import decode, encode
from kmi.model.digest import HEX_LENGTHS, Digest
from kmi.model.platform import Arch
from kmi.model.spec import ImageId

A = "a" * 64


def test_a_digest_reads_and_writes() -> None:
    digest = Digest.parse(f"sha256:{A}")
    assert str(digest) == f"sha256:{A}"
    assert digest == Digest(algorithm="sha256", hex=A)
    assert digest != Digest(algorithm="sha256", hex="b" * 64)
    assert len({digest, Digest(algorithm="sha256", hex=A)}) == 1


@pytest.mark.parametrize("text", ["", A, f"md5:{'a' * 32}", f"sha256:{A.upper()}", f"sha256:{A}a", f"sha512:{A}",
                                  f"sha256:{A[:-1]}\n", f"sha256:{A[:-1]}g"])  # fmt: skip
def test_a_malformed_digest_cannot_exist(text: str) -> None:
    with pytest.raises(ValueError, match="digest"):
        Digest.parse(text)


@given(st.text())
def test_no_text_makes_a_wrong_digest(text: str) -> None:
    try:
        digest = Digest.parse(text)
    except ValueError:
        return
    assert len(digest.hex) == HEX_LENGTHS[digest.algorithm]
    assert str(digest) == text


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    image: ImageId
    digest: Digest
    moment: datetime
    day: date | None
    pairs: tuple[tuple[Arch, Digest], ...]
    path: Path


def test_what_is_encoded_decodes() -> None:
    value = Everything(
        image=ImageId(distro="debian", release="12", arch=Arch.AMD64), digest=Digest(algorithm="sha256", hex=A),
        moment=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), day=None,
        pairs=((Arch.ARM64, Digest(algorithm="sha256", hex=A)),), path=Path("/x"),
    )  # fmt: skip
    assert decode(Everything, encode(value)) == value
    with pytest.raises(TypeError):
        encode(object())
    with pytest.raises((TypeError, ValueError)):
        decode(Everything, {**encode(value), "digest": "x"})


def test_image_ids_are_their_names() -> None:
    assert str(ImageId(distro="debian", release="12", arch=Arch.ARM64)) == "debian-12-arm64"
    assert Arch.of_machine("aarch64") is Arch.ARM64


def complete(**changes: str) -> dict[str, str]:
    values = {field.name.replace("-", "_"): field.name for field in metadata.FIELDS}
    return metadata.record(**{**values, **changes})


def test_a_record_is_complete_and_ordered() -> None:
    assert list(complete()) == [field.name for field in metadata.FIELDS]
    with pytest.raises(ValueError, match="missing fields"):
        metadata.record(distro="x")
    with pytest.raises(ValueError, match="unknown fields"):
        complete(colour="red")
    with pytest.raises(ValueError, match="control characters"):
        complete(title="two\nlines")


def test_labels_come_back_as_the_record() -> None:
    record = complete(eula="", eula_url="")
    labels = metadata.labels(record)
    assert metadata.of_labels(labels) == record
    assert "dev.kmi.eula" not in labels
    assert len({field.label for field in metadata.FIELDS}) == len(metadata.FIELDS)


def test_the_index_carries_what_all_architectures_share() -> None:
    shared = metadata.shared_labels(complete())
    assert "dev.kmi.distro" in shared
    assert "dev.kmi.architecture" not in shared
    assert "dev.kmi.disk.digest" not in shared
