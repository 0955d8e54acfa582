"""Locks between processes: flock(2) on a file, let go by the kernel when its holder ends, however it ends.

They work across PID namespaces and containers that share a folder. A lock file may be removed by whoever holds it: the
others notice that their handle is no longer the file of that name, and begin again.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from kmi.errors import Interrupted

_LONGEST_PAUSE = 0.2


@contextmanager
def locked(path: Path, *, shared: bool = False, blocked: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock for the block; ``blocked`` is called once if somebody else has it. Interrupted while waiting if
    the run is to stop."""
    from kmi.host.run import stopping  # not above: what starts programs may look for its scratch folder through here

    pause = 0.01
    while (handle := attempt(path, shared=shared)) is None:
        if blocked:
            blocked()
            blocked = None
        if stopping():
            raise Interrupted("stopped")
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    with handle:
        yield


def attempt(path: Path, *, shared: bool = False, create: bool = True) -> FileIO | None:
    """The lock as an open file (closing it lets go), or None if somebody else has it. OSError; without ``create``,
    FileNotFoundError if nobody ever made the file."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    while True:
        handle = FileIO(os.open(path, flags, 0o644), "r+")
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if _is(handle, path):
                return handle
        except BlockingIOError:
            handle.close()
            return None
        except BaseException:
            handle.close()
            raise
        handle.close()


def _is(handle: FileIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return False
