"""Files that lie in memory only, for what a program wants as a file and no disk should hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file(data: bytes) -> Iterator[Path]:
    """A path that programs started in the block, by this user, can open (memfd_create(2), and the name that it has
    below this process's ``/proc``). Nothing is left of it when the block ends, nor when kmi is killed."""
    handle = os.memfd_create("kmi")
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        yield Path(f"/proc/{os.getpid()}/fd/{handle}")
    finally:
        os.close(handle)
