"""A file on its way, and the disk that is full."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from kmi.errors import HostError
from kmi.host.partial import Partial


@pytest.mark.parametrize("chunk", [b"x", b"x" * (1 << 20)])
def test_a_full_disk_is_told_not_crashed_upon(tmp_path: Path, chunk: bytes) -> None:
    """Small chunks are the trap: a buffer would be written once more when the file is closed."""
    path = tmp_path / "file"
    path.symlink_to("/dev/full")
    with pytest.raises(HostError, match="full") as caught:
        with Partial(path, ["sha256"]) as partial:
            partial.write(chunk)
    assert caught.value.got == "0 bytes written"
    assert "--cache" in str(caught.value.hint)


def test_what_fitted_counts_and_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Small:
        """A disk with room for six bytes, which takes four at a time."""

        room = 6

        def __init__(self, file) -> None:
            self.file = file

        def write(self, data: memoryview) -> int:
            if not self.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fits = min(4, self.room, len(data))
            self.room -= fits
            return self.file.write(data[:fits])

        def close(self) -> None:
            self.file.close()

    path = tmp_path / "file"
    with pytest.raises(HostError):
        with Partial(path, ["sha256"]) as partial:
            partial.restart('"one"')
            monkeypatch.setattr(partial, "_file", Small(partial._file))
            partial.write(b"0123456789")
    assert path.read_bytes() == b"012345"
    assert partial.offset == 6
    assert partial.digests()["sha256"].hex == hashlib.sha256(b"012345").hexdigest()
    with Partial(path, ["sha256"]) as again:
        assert (again.offset, again.validator) == (6, '"one"')
        again.write(b"6789")
    assert path.read_bytes() == b"0123456789"
    assert again.digests()["sha256"].hex == hashlib.sha256(b"0123456789").hexdigest()


def test_another_error_of_the_disk_is_not_a_full_one(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        Partial(tmp_path, ["sha256"])
