"""What an index tells beside the digest: nothing of it goes on unseen."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from kmi.catalogue import load, select
from kmi.errors import VerificationError
from kmi.host.ui import Reporter, Step
from kmi.model.spec import CloudImage, Trust
from kmi.model.stages import Locked
from kmi.settings import Settings
from kmi.upstream.resolve import resolve
from tests.unit.upstream.served import Served

ROOT = Path(__file__).parents[3]
INDEX, BELOW = "https://p.example/stream.json", "https://p.example/builds/"
IMAGE = CloudImage(
    kind="coreos-stream", url=BELOW, checksums=INDEX, item="x86_64/qemu/qcow2", algorithm="sha256", format="qcow2",
    trust=Trust(kind="tls-only"),
)  # fmt: skip


def resolved(build: str, folder: Path) -> Locked:
    disk = {"location": BELOW + "d.qcow2", "sha256": "a1" * 32}
    artifact = {"release": build, "formats": {"qcow2": {"disk": disk}}}
    document = json.dumps({"architectures": {"x86_64": {"artifacts": {"qemu": artifact}}}}).encode()
    spec = replace(select(load(ROOT / "distros"), ["debian:12"], "amd64")[0], cloud_image=IMAGE)
    step = Step(Reporter(io.StringIO()), "x", "resolve")
    http = Served({INDEX: document})
    return resolve(spec, http=http, settings=Settings(cache=folder), scratch=folder, step=step)  # type: ignore[arg-type]


def test_the_publishers_build_id_goes_on(tmp_path: Path) -> None:
    assert resolved("44.20260913.3.0", tmp_path).build == "44.20260913.3.0"


@pytest.mark.parametrize("build", ["44 20260913", "../44", "44\u202e", "a" * 101, "-44", "44/45"])
def test_a_build_id_that_is_no_word_is_refused(build: str, tmp_path: Path) -> None:
    """It stands in labels, receipts and locks."""
    with pytest.raises(VerificationError, match=r"no usable name|another shape"):
        resolved(build, tmp_path)
