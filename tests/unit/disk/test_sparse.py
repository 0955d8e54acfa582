from __future__ import annotations

import errno
import hashlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmi.disk import sparse
from kmi.errors import HostError

PIECES = st.lists(st.binary(max_size=300) | st.integers(0, 200_000).map(bytes) | st.just(b"\1" * 70_000), max_size=8)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PIECES)
def test_the_file_is_what_came_in(tmp_path: Path, pieces: list[bytes]) -> None:
    grown: list[int] = []
    digests = sparse.write(pieces, tmp_path / "disk", algorithms=["sha256", "sha512"], on_write=grown.append)
    data = b"".join(pieces)
    assert (tmp_path / "disk").read_bytes() == data
    assert {name: digest.hex for name, digest in digests.items()} == {
        "sha256": hashlib.sha256(data).hexdigest(), "sha512": hashlib.sha512(data).hexdigest(),
    }  # fmt: skip
    assert len(grown) == len(pieces) and grown[-1:] in ([], [len(data)])


def test_zeros_take_no_room(tmp_path: Path) -> None:
    sparse.write([b"x" * (1 << 20), *[bytes(1 << 20)] * 100, b"y"], tmp_path / "disk")
    assert (tmp_path / "disk").stat().st_size == (101 << 20) + 1
    assert (tmp_path / "disk").stat().st_blocks * 512 < 2 << 20


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(b"old" * 100_000)
    sparse.write([bytes(10)], tmp_path / "disk")
    assert (tmp_path / "disk").read_bytes() == bytes(10)


def test_a_full_disk_is_the_hosts_fault_and_leaves_nothing(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x" * 1000
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(HostError, match="disk is full") as caught:
        sparse.write(pieces(), tmp_path / "disk")
    assert caught.value.exit_code == 7 and not (tmp_path / "disk").exists()


def test_any_failure_leaves_nothing(tmp_path: Path) -> None:
    """Here a limit on the size of files, which a write meets in its middle."""
    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            sparse.write([b"x" * 1_000_000], tmp_path / "disk")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
