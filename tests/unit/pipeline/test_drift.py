"""What goes back in time, and what is the same file."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import ImageId
from kmi.model.stages import Evidence, Locked
from kmi.pipeline.drift import rollback

OLD = Locked(
    id=ImageId(distro="a", release="1", arch=Arch.AMD64),
    url="https://a.example/10/disk.img",
    digest=Digest(algorithm="sha256", hex="ab" * 32),
    size=None,
    build="10",
    released_at=datetime(2026, 7, 25, 4, 16, 54, tzinfo=UTC),
    evidence=Evidence(kind="openpgp", value="0" * 40),
    checksums="https://a.example/10/SHA256SUMS",
    format="qcow2",
)
SECOND = timedelta(seconds=1)
OTHER = Digest(algorithm="sha256", hex="cd" * 32)
TLS = Evidence(kind="tls-only")


@pytest.mark.parametrize(
    ("changes", "back"),
    [
        ({}, ""),
        ({"build": "11", "digest": OTHER, "released_at": OLD.released_at + SECOND}, ""),
        ({"build": "9", "digest": OTHER, "released_at": OLD.released_at + SECOND}, "build 9"),
        ({"build": "9"}, "build 9"),
        ({"digest": OTHER, "released_at": OLD.released_at - SECOND}, "2026-07-25 04:16:53"),
        ({"released_at": OLD.released_at - SECOND}, "2026-07-25 04:16:53"),  # an older signature, replayed
    ],
)
def test_neither_build_nor_date_may_be_older(changes: dict[str, Any], back: str) -> None:
    assert rollback(OLD, replace(OLD, **changes)) == back


@pytest.mark.parametrize(
    ("changes", "back"),
    [
        ({"released_at": OLD.released_at - SECOND}, False),  # another of the publisher's servers
        ({"released_at": OLD.released_at - SECOND, "size": 7}, False),
        ({"released_at": OLD.released_at - SECOND, "digest": OTHER}, True),
        ({"build": "9", "digest": OTHER}, True),
    ],
)
def test_an_unsigned_file_that_is_the_same_has_no_date_to_go_by(changes: dict[str, Any], back: bool) -> None:
    unsigned = replace(OLD, evidence=TLS)
    assert bool(rollback(unsigned, replace(unsigned, **changes))) is back


def test_a_signature_that_is_gone_is_judged_as_any_other_change() -> None:
    assert rollback(OLD, replace(OLD, evidence=TLS, released_at=OLD.released_at - SECOND))
