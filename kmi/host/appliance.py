"""The appliance that libguestfs builds once and keeps: a kernel and a root file system that every build trusts.

libguestfs looks at it by its packages' times alone, so a flipped bit would run in every guest's disk from then on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kmi.host import stagefiles
from kmi.host.files import seal, unseal, write_json
from kmi.host.locks import locked
from kmi.host.owner import use
from kmi.host.removal import remove

FOLDER = "appliance"
_FILES = "files.json"


@contextmanager
def kept(cache: Path, warn: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Launch an appliance in this block. One that is not what was recorded of it is removed first; then libguestfs
    builds it anew, others wait for that, and what it has built is recorded."""
    use(cache, FOLDER)
    with ExitStack() as alone:
        alone.enter_context(locked(cache / "locks" / FOLDER))
        if _whole(cache):
            alone.close()
            yield
            return
        if _built(cache).exists():
            warn("the cached libguestfs appliance is damaged, or was never finished, and is made again")
            remove(_built(cache), warn)
        yield
        write_json(cache / FOLDER / _FILES, seal({"files": stagefiles.scan(_built(cache))}))


def wrong(cache: Path) -> str | None:
    """What is wrong with the appliance in words; None if nothing is, or there is none."""
    if not _built(cache).is_dir():
        return None
    record = unseal(cache / FOLDER / _FILES)
    return stagefiles.damage(_built(cache), record["files"]) if record else "nothing is recorded of it"


def drop(cache: Path, warn: Callable[[str], None]) -> None:
    """Remove it, unless somebody launches one now."""
    with locked(cache / "locks" / FOLDER):
        remove(_built(cache), warn)


def _whole(cache: Path) -> bool:
    return _built(cache).is_dir() and wrong(cache) is None


def _built(cache: Path) -> Path:
    """Where libguestfs keeps it, and what it knows of QEMU (guestfs(3), LIBGUESTFS_CACHEDIR)."""
    return cache / FOLDER / f".guestfs-{os.geteuid()}"
