"""The guardian: a tiny program that ends what a killed kmi left running. ``kmi.host.guarded`` starts it.

Its standard input is a pipe whose other end only kmi holds. While kmi lives it sleeps; at a clean end kmi ends it. When
the pipe breaks, kmi is gone without a farewell: what carries the run's mark in its environment is then killed, until
nothing was found for some seconds. Grandchildren and what libguestfs starts carry the mark too, since an environment is
inherited. Nothing else is ever killed: a process is held by a file descriptor (pidfd_open(2)) before its mark is read,
so a process id that was used again meanwhile does not matter.

It runs by itself (``python -I -S``), so that it is up within milliseconds: nothing but the standard library.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import sys
import time
from pathlib import Path

MARK = "KMI_RUN"
QUIET = 3.0
"""Seconds without a find before it goes: a program may still be between fork(2) and execve(2), unmarked."""
LONGEST = 60.0
"""Seconds after which it goes in any case: a process may hang in the kernel."""

_PAUSE = 0.1
_SOCKETS = re.compile(rb"(?<![\w.-])(/(?:[^\0,:=/]+/)+libguestfs[A-Za-z0-9]{6})/guestfsd\.sock")
"""In QEMU's command line: the folder in which libguestfs meets its appliance, for root always below /tmp."""


def main(mark: str) -> None:
    """Wait until kmi is gone; then end the rest of its run, and remove the folders that it named line by line."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it may go only after kmi
    os.chdir("/")
    told = b""
    while chunk := os.read(0, 65536):
        told += chunk
    folders = end(f"{MARK}={mark}".encode()) | {line for line in told.split(b"\n") if line}
    for folder in folders:
        remove(Path(os.fsdecode(folder)))


def end(mark: bytes, quiet: float = QUIET) -> set[bytes]:
    """Kill what carries ``mark`` until nothing was found for ``quiet`` seconds; libguestfs's folders that were seen."""
    folders: set[bytes] = set()
    began = last = time.monotonic()
    while (now := time.monotonic()) < last + quiet and now < began + LONGEST:
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and _killed(process, mark, folders):
                last = now
        time.sleep(_PAUSE)
    return folders


def remove(folder: Path) -> None:
    """Remove a folder of sockets and files that belongs to this user; one that holds folders is left alone."""
    try:
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    except OSError:
        pass  # gone, or not as it should be


def _killed(process: Path, mark: bytes, folders: set[bytes]) -> bool:
    try:
        held = os.pidfd_open(int(process.name))
    except OSError:
        return False
    try:
        if mark not in (process / "environ").read_bytes().split(b"\0"):
            return False
        folders.update(_SOCKETS.findall((process / "cmdline").read_bytes()))
        signal.pidfd_send_signal(held, signal.SIGKILL)
        return True
    except OSError:  # it went by itself, or belongs to somebody else
        return False
    finally:
        os.close(held)


if __name__ == "__main__":
    main(sys.argv[1])
