"""A manifest that says everything there is to say, as data, and how to write it so that each value has a line."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from kmi.catalogue import load, schema
from kmi.errors import FaultsError

Place = tuple[str | int, ...]

FULL: dict[str, Any] = {
    "distro": "acme",
    "title": "Acme Linux",
    "documentation": "https://acme.example/",
    "licence": {"name": "MIT", "url": "https://acme.example/l", "file": "files/acme.txt"},
    "eula": {"name": "Acme EULA", "url": "https://acme.example/e", "file": "files/acme.txt"},
    "user": "acme",
    "init": "cloud-init",
    "agent": {"state": "installed", "package": "qemu-guest-agent", "service": "qemu-guest-agent"},
    "instancetype": "u1.small",
    "preference": "linux",
    "preferences": {"amd64": "linux.efi"},
    "firmware": {"amd64": ["bios", "uefi"]},
    "virtual_size": "20GiB",
    "max_age": "40",
    "redistribution": "restricted",
    "redistribution_policy": "https://acme.example/p",
    "arch_names": {"amd64": "x86_64"},
    "own_disk": {"format": "qcow2", "where": "the customer portal"},
    "cloud_image": {
        "kind": "checksum-file",
        "url": "https://acme.example/{version}/{codename}-{build}-{arch}.tar",
        "checksums": "https://acme.example/{version}/{build}/SUMS",
        "shape": "lines",
        "item": "{arch}",
        "algorithm": "sha256",
        "format": "raw",
        "compression": "none",
        "archive": "tar",
        "member": "disk.raw",
        "digest_of": "file",
        "build": {"kind": "listing", "url": "https://acme.example/{version}/", "name": "{build}-{arch}.tar"},
        "trust": {
            "kind": "openpgp",
            "over": "checksums",
            "fingerprints": ["A" * 40],
            "key_url": "https://acme.example/key.asc",
            "signature": "https://acme.example/{version}/{build}/SUMS.asc",
        },
        "per_architecture": {"amd64": {"url": "https://acme.example/a-{build}.tar"}},
    },
    "bootstrap": {
        "kind": "debian",
        "suite": "{codename}",
        "keyring": "/usr/share/keyrings/acme.gpg",
        "packages": ["linux"],
        "boot_packages": {"amd64": ["grub"]},
    },
    "customize": "full",
    "packages": ["git", "g++"],
    "upgrade": "all",
    "enable": ["getty@tty1.service"],
    "files": [{"path": "/etc/motd", "content": "- hello\n\tthere\n", "mode": "0644"}],
    "run": ["true\nfalse || true"],
    "room": "1GiB",
    "releases": [
        {"version": "2", "codename": "quick", "tier": "proposed", "default": "true", "architectures": ["amd64"]},
        {
            "version": "1",
            "codename": "slow",
            "tier": "planned",
            "default": "false",
            "architectures": ["amd64"],
            "reason": "too old",
            "end_of_life": "2026-04-30",
            "successor": "2",
            "waivers": [{"criterion": "trust", "reason": "none signs", "until": "2027-01-01"}],
        },
    ],
}  # fmt: skip


def places(node: dict[str, Any] | None = None, at: Place = ()) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Every value that a manifest may hold, with its JSON Schema, however deep: what is added later is found, too."""
    root = schema.json_schema()
    node = root if node is None else node
    if "$ref" in node:
        yield from places(root["$defs"][node["$ref"].rpartition("/")[2]], at)
    elif "anyOf" in node:
        for choice in node["anyOf"]:
            if choice.get("type") != "null":
                yield from places(choice, at)
    elif node.get("type") == "array":
        yield from places(node["items"], (*at, 0))
    elif node.get("type") == "object":
        for name, inner in node.get("properties", {}).items():
            yield from places(inner, (*at, name))
        if isinstance(inner := node.get("additionalProperties"), dict):
            yield from places(inner, (*at, "amd64"))
    else:
        yield at, node


def put(manifest: dict[str, Any], place: Place, value: Any) -> dict[str, Any]:
    """A copy with another value at that place; what leads there is made."""
    changed = copy.deepcopy(manifest)
    at: Any = changed
    for part, following in pairwise(place):
        fresh: Any = [] if isinstance(following, int) else {}
        if isinstance(at, list):
            at += [fresh] * (len(at) == part)
            at = at[part]
        else:
            at = at.setdefault(part, fresh)
    if isinstance(at, list) and len(at) == place[-1]:
        at.append(value)
    else:
        at[place[-1]] = value
    return changed


def written(manifest: Any) -> str:
    """As YAML, each value on one line of its own, with everything unusual escaped."""
    form = {"default_style": '"', "sort_keys": False, "width": 1 << 30, "allow_unicode": False}
    try:
        return str(yaml.dump(manifest, Dumper=yaml.CSafeDumper, **form))
    except UnicodeEncodeError:  # libyaml writes no surrogates, not even escaped ones
        return str(yaml.dump(manifest, Dumper=yaml.SafeDumper, **form))


def line_of(manifest: dict[str, Any], place: Place) -> int:
    """The line on which the value at that place stands."""
    return next(
        number
        for number, line in enumerate(written(put(manifest, place, "@here@")).splitlines(), 1)
        if "@here@" in line
    )


def folder(at: Path) -> Path:
    """An empty catalogue with the licence that the manifest names."""
    (at / "distros" / "files").mkdir(parents=True)
    (at / "distros" / "files" / "acme.txt").write_text("Do as you like.\n")
    return at / "distros"


def faults(distros: Path, text: str | bytes, name: str = "acme.yaml") -> list[tuple[str, str]]:
    """What is told of the manifest: pairs of ``file:line`` and a sentence; nothing if it is good."""
    (distros / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        load(distros)
    except FaultsError as error:
        assert error.exit_code == 2
        return list(error.faults)
    return []
