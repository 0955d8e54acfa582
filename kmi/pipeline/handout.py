"""Give the user an OCI layout outside the cache."""

from __future__ import annotations

import shutil
from pathlib import Path

from kmi.errors import KmiError
from kmi.model.digest import HEX_LENGTHS, Digest
from kmi.oci.layout import Layout


def holds(layout: Path, digest: Digest) -> bool:
    """Whether the folder is a whole layout whose one root is ``digest``."""
    try:
        return [root.digest for root in Layout.open(layout).roots()] == [digest]
    except (OSError, KmiError):
        return False


def hand_out(source: Path, target: Path) -> None:
    """Give the user a layout: whole or not at all. Blobs are hard links (nobody rewrites what its digest names), the
    rest copies, because other tools add to an index.json in place."""

    def give(file: str, copy: str) -> None:
        if Path(file).parent.name in HEX_LENGTHS:
            try:
                Path(copy).hardlink_to(file)
                return
            except OSError:  # another file system
                pass
        shutil.copy2(file, copy)

    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(source, fresh, copy_function=give)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
