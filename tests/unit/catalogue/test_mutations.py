"""Random damage to a real manifest: it loads, or every error has file and line; nothing else, and soon."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmi.catalogue import load
from kmi.errors import FaultsError
from tests import manifests

SOURCE = Path(__file__).parents[3] / "distros" / "debian.yaml"
LINES = SOURCE.read_bytes().splitlines(keepends=True)
SOON = 20.0

line = st.integers(0, len(LINES) - 1)
change = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, len(SOURCE.read_bytes()) - 1), st.integers(1, 255)),
    st.tuples(st.just("double"), line, st.integers(1, 3)),
    st.tuples(st.just("drop"), line, st.integers(1, 5)),
    st.tuples(st.just("swap"), line, line),
    st.tuples(st.just("indent"), line, st.integers(0, 12)),
    st.tuples(st.just("put"), line, st.sampled_from([b"\t", b"- ", b"&a ", b"*a ", b"!!x ", b"---\n", b"? ", b"\xff"])),
)


def damaged(changes: list[tuple[str, int, object]]) -> bytes:
    lines = list(LINES)
    for kind, at, what in changes:
        at = min(at, len(lines) - 1)
        if kind == "flip":
            data = bytearray(b"".join(lines))
            data[at % len(data)] ^= int(str(what))
            lines = bytes(data).splitlines(keepends=True) or [b""]
        elif kind == "double":
            lines[at:at] = [lines[at]] * int(str(what))
        elif kind == "drop":
            lines[at : at + int(str(what))] = []
            lines = lines or [b""]
        elif kind == "swap":
            other = min(int(str(what)), len(lines) - 1)
            lines[at], lines[other] = lines[other], lines[at]
        elif kind == "indent":
            lines[at] = b" " * int(str(what)) + lines[at].lstrip(b" ")
        elif isinstance(what, bytes):
            lines[at] = what + lines[at]
    return b"".join(lines)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    distros = manifests.folder(tmp_path)
    (distros / "files" / "debian-licence.txt").write_text("text")
    return distros


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(change, min_size=1, max_size=6))
def test_a_damaged_manifest_loads_or_is_told_by_line(folder: Path, changes: list[tuple[str, int, object]]) -> None:
    data = damaged(changes)
    (folder / "debian.yaml").write_bytes(data)
    began = time.monotonic()
    try:
        assert load(folder).specs
    except FaultsError as error:
        for where, message in error.faults:
            found = re.fullmatch(r"distros/debian\.yaml:([0-9]+)", where)
            assert found, where
            assert 1 <= int(found[1]) <= data.count(b"\n") + data.count(b"\r") + 1
            assert message.isprintable()
    assert time.monotonic() - began < SOON


def test_the_undamaged_one_loads(folder: Path) -> None:
    (folder / "debian.yaml").write_bytes(b"".join(LINES))
    assert load(folder).specs
