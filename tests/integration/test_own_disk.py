"""``--source byo``: a disk that the user has goes the whole way, and the image says who vouches for it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import tiny
from tests.boot_sector import boot_sector

WHERE = "the customer portal of Tiny"


@pytest.fixture
def kmi(tmp_path: Path) -> Iterator[tiny.Kmi]:
    """A catalogue of ``own`` and ``too``, which nobody offers for download, and ``tiny``."""
    (tmp_path / "kmi").mkdir()
    up = tiny.make(tmp_path / "upstream", "own", "too", "tiny")
    for name in ("own", "too"):
        up.manifests[name]["own_disk"] = {"format": "vmdk", "where": WHERE}
        del up.manifests[name]["cloud_image"]
        up.save(name)
    with tiny.served(up.www) as mirrors:
        yield tiny.Kmi(folder=tmp_path / "kmi", tiny=up, base=tiny.local_base(tmp_path), mirrors=mirrors)


@pytest.fixture
def disk(kmi: tiny.Kmi) -> Path:
    raw, made = kmi.folder / "mine.raw", kmi.folder / "mine.vmdk"
    raw.write_bytes(boot_sector(tiny.LOGIN))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", raw, made], check=True)
    os.utime(made, (1779271200, 1779271200))
    return made


def record(kmi: tiny.Kmi) -> dict[str, str]:
    receipt = json.loads((kmi.folder / "build/own-1-amd64/receipt.json").read_text())
    return next(stage["outputs"]["metadata"] for stage in receipt["stages"] if stage["stage"] == "wrap")


def test_it_is_built_and_says_so(kmi: tiny.Kmi, disk: Path) -> None:
    built = kmi("build", "own", "--source", "byo", "--disk", disk)
    assert built.returncode == 0, built.stderr
    assert "nobody but you vouches for it" in built.stderr
    receipt = json.loads((kmi.folder / "build/own-1-amd64/receipt.json").read_text())
    stages = {stage["stage"]: stage for stage in receipt["stages"]}
    metadata = record(kmi)
    assert (metadata["trust"], metadata["build"], metadata["released"]) == ("user", "20260520", "2026-05-20T10:00:00Z")
    assert metadata["checksum"] == stages["adopt"]["outputs"]["digest"]
    shown = kmi("inspect", "--lint", "--json", kmi.folder / "build/own-1-amd64/oci")
    assert shown.returncode == 0, shown.stderr + shown.stdout
    assert str(disk) not in shown.stdout and disk.name not in shown.stdout, "where it lay here concerns nobody"
    again = kmi("build", "own", "--source", "byo", "--disk", disk)
    assert (again.returncode, again.stdout) == (0, built.stdout)
    assert all(stage["reused"] for stage in json.loads((kmi.folder / "build/own-1-amd64/receipt.json").read_text())[
        "stages"] if stage["stage"] in ("adopt", "finish", "wrap", "index"))  # fmt: skip


def test_the_same_bytes_and_date_give_the_same_record_from_anywhere(kmi: tiny.Kmi, disk: Path) -> None:
    assert kmi("build", "own", "--source", "byo", "--disk", disk).returncode == 0
    first = record(kmi)
    moved = kmi.folder / "elsewhere"
    disk.rename(moved)
    second = kmi("build", "own", "--source", "byo", "--disk", "elsewhere", KMI_CACHE=str(kmi.folder / "cache-2"))
    assert second.returncode == 0, second.stderr
    assert record(kmi) | {"pulled": ""} == first | {"pulled": ""}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["own", "--source", "byo"], WHERE),
        (["own"], WHERE),
        (["own", "--source", "byo", "--disk", "missing"], WHERE),
        (["tiny", "--source", "byo", "--disk", "mine.vmdk"], "takes no disk of your own"),
        (["own", "--disk", "mine.vmdk"], "--source byo"),
        (["own", "too", "--source", "byo", "--disk", "mine.vmdk"], "one disk is one image"),
    ],
)
def test_what_does_not_fit_is_a_usage_error(kmi: tiny.Kmi, disk: Path, words: list[str], told: str) -> None:
    for verb, *more in (("build",), ("run", "--to", "127.0.0.1:1/x")):
        done = kmi(verb, *words, *more)
        assert done.returncode == 2, done.stderr
        assert told in done.stderr


def test_a_disk_that_is_none_is_refused(kmi: tiny.Kmi, disk: Path) -> None:
    disk.write_bytes(disk.read_bytes()[: 1 << 15])
    done = kmi("build", "own", "--source", "byo", "--disk", disk)
    assert done.returncode == 4, done.stderr
    assert not [path for path in (kmi.cache / "blobs").rglob("*") if path.is_file()]
