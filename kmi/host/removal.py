"""Removing folders whose owner is dead: never across a mount point, never through a symbolic link."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


def remove(path: Path, warn: Callable[[str], None]) -> bool:
    """Remove a file, a link itself, or a folder with all below it. Whether it is gone.

    A folder that something is mounted in stays whole, and so does what may not be removed; ``warn`` names it. What
    somebody mounted below the cache is that person's, and a bind mount does not even show as another device: the
    kernel's list of mounts is asked (proc(5), mountinfo).
    """
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
        return True
    if not path.exists():
        return True
    if mounts := mounted(path):
        warn(f"{path} is left as it is: {', '.join(mounts)} is a mount point; unmount it")
        return False
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        _open_up(path)
        shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        warn(f"{path} cannot be removed by this user")
    return not path.exists()


def mounted(path: Path) -> list[str]:
    """The mount points at or below a folder."""
    top = os.path.realpath(path)
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # no /proc: a mount shows at least as another device
        return [] if path.stat().st_dev == path.parent.stat().st_dev else [top]
    points = (_OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split(" ")[4]) for line in lines)
    return [point for point in points if point == top or point.startswith(top.rstrip("/") + "/")]


def _open_up(path: Path) -> None:
    """Give this user the right to every folder that it owns: tools leave some without."""
    for folder, names, _ in os.walk(path, onerror=None):
        for name in (".", *names):
            entry = Path(folder, name)
            if not entry.is_symlink():
                try:
                    entry.chmod(0o700)
                except OSError:
                    pass
