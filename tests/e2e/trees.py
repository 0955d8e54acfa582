"""A disk's root file system as a table of its files. The disks are the tests' own: the host kernel may mount them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Node:
    """What a path is. ``content`` is a regular file's SHA-256 or a link's target. Times are left out: they tell when,
    not what."""

    kind: str
    mode: int
    owner: tuple[int, int]
    content: str
    attributes: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Every path of the root file system below ``root`` (while it is mounted), as absolute guest paths; and every
    partition's SHA-256 by its number."""

    root: Path
    nodes: dict[str, Node]
    partitions: dict[int, str]

    def read(self, path: str) -> bytes:
        return (self.root / path.lstrip("/")).read_bytes()

    def changed(self, other: Tree) -> dict[str, str]:
        """How ``other`` differs: path → added, removed or changed."""
        differences = dict.fromkeys(self.nodes.keys() - other.nodes.keys(), "removed")
        differences |= dict.fromkeys(other.nodes.keys() - self.nodes.keys(), "added")
        shared = self.nodes.keys() & other.nodes.keys()
        return differences | {path: "changed" for path in shared if self.nodes[path] != other.nodes[path]}


@contextmanager
def mounted(disk: Path, scratch: Path) -> Iterator[Tree]:
    """Partition 1 of a qcow2 disk, read-only through a loop device, by offset: partition nodes are not everywhere."""
    raw, root = scratch / "disk.raw", scratch / "root"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk, raw], check=True)
    table = json.loads(subprocess.run(["sfdisk", "--json", raw], check=True, capture_output=True).stdout)
    parts = table["partitiontable"]["partitions"]
    first = next(part for part in parts if part["node"].endswith("disk.raw1"))
    options = f"ro,noload,loop,offset={first['start'] * 512},sizelimit={first['size'] * 512}"
    root.mkdir()
    subprocess.run(["mount", "-t", "ext4", "-o", options, raw, root], check=True)
    try:
        yield Tree(root=root, nodes=dict(_walk(root)), partitions=dict(_partitions(raw, parts)))
    finally:
        subprocess.run(["umount", root], check=True)
        raw.unlink()


def _partitions(raw: Path, parts: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    with raw.open("rb") as file:
        for part in parts:
            file.seek(part["start"] * 512)
            digest, left = hashlib.sha256(), part["size"] * 512
            while left:
                data = file.read(min(left, 1 << 20))
                digest.update(data)
                left -= len(data)
            yield int(part["node"].rpartition("disk.raw")[2]), digest.hexdigest()


def _walk(root: Path) -> Iterator[tuple[str, Node]]:
    for folder, folders, files in os.walk(root):
        for name in [*folders, *files]:
            path = Path(folder) / name
            yield "/" + str(path.relative_to(root)), _node(path)


def _node(path: Path) -> Node:
    info = path.lstat()
    kind = stat.filemode(info.st_mode)[0]
    content = ""
    if kind == "-":
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif kind == "l":
        content = str(path.readlink())
    names = sorted(os.listxattr(path, follow_symlinks=False))
    attributes = tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in names)
    return Node(kind=kind, mode=stat.S_IMODE(info.st_mode), owner=(info.st_uid, info.st_gid),
                content=content, attributes=attributes)  # fmt: skip


def matches(path: str, pattern: str) -> bool:
    """A glob in which ``*`` stays inside one name and ``**`` does not."""
    parts = re.split(r"(\*\*|\*|\?|\[[^]]+\])", pattern)
    words = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = "".join(words.get(part, part if part.startswith("[") else re.escape(part)) for part in parts)
    return re.fullmatch(regex, path) is not None
