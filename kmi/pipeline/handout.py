"""Give the user an OCI layout outside the cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from kmi.errors import HostError
from kmi.host.files import hash_file
from kmi.model.digest import HEX_LENGTHS


def holds(target: Path, source: Path) -> bool:
    """Whether ``target`` has every file of the layout ``source``. Links to the same bytes need no look; copies do."""
    return all(_same(target / file.relative_to(source), file) for file in source.rglob("*") if file.is_file())


def _same(copy: Path, file: Path) -> bool:
    if copy.is_symlink() or not copy.is_file():
        return False
    return copy.samefile(file) or (copy.stat().st_size == file.stat().st_size and hash_file(copy) == hash_file(file))


def hand_out(source: Path, target: Path) -> None:
    """Give the user a layout: whole or not at all. Blobs are hard links (nobody rewrites what its digest names), the
    rest copies, because other tools add to an index.json in place. HostError for a target that is no folder."""

    def give(file: str, copy: str) -> None:
        if Path(file).parent.name in HEX_LENGTHS:
            try:
                Path(copy).hardlink_to(file)
                return
            except OSError:  # another file system
                pass
        shutil.copy2(file, copy)

    if target.is_symlink() or target.is_file():
        raise HostError(
            "no place for the layout", expected="a folder, or nothing", got="a link or a file", where=target
        )
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        _copy(source, fresh, give)
    except BaseException:  # what is left would keep a full disk full
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def _copy(source: Path, target: Path, give: Callable[[str, str], None]) -> None:
    """File by file, and no further than the first that does not fit: shutil.copytree tries all, and then hides why."""
    target.mkdir()
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        copy.mkdir() if path.is_dir() else give(str(path), str(copy))
