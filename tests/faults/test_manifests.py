"""Hostile manifests given to ``kmi check`` as a user gives them: exit status 2, every error with file and line, and no
more time and memory than a good manifest takes."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import manifests
from tests.fault_record import record, seeds
from tests.manifests import FULL, put, written

DEBIAN = Path(__file__).parents[2] / "distros" / "debian.yaml"
GOOD = written(FULL)
MEMORY = 512 << 20
"""Bytes of address space: a good manifest needs some 300 MiB of it, most for the interpreter's libraries."""

SECONDS = 60
"""For one run on a machine that is busy otherwise; a good manifest takes about one."""

PLACE = re.compile(r"^  (\S+:[0-9]+): (.+)$", re.MULTILINE)


def check(folder: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """``kmi check`` in a process of its own, bounded in memory and time."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("KMI_", "GITHUB_"))}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "kmi", "check", "--distros", "distros", "--cache", "cache", *words],
        cwd=folder, env={**environ, "PYTHONPATH": str(DEBIAN.parents[1])}, capture_output=True, text=True,
        timeout=SECONDS, stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )  # fmt: skip
    return done, time.monotonic() - began


def edited(*places: tuple[tuple[str | int, ...], Any]) -> Callable[[Path], None]:
    manifest = FULL
    for place, value in places:
        manifest = put(manifest, place, value)
    return text(written(manifest))


def text(content: str | bytes) -> Callable[[Path], None]:
    return lambda file: file.write_bytes(content if isinstance(content, bytes) else content.encode()) and None


def large(file: Path) -> None:
    block = b"packages: [a, b, c]  # a line of a manifest that does not end\n" * 16_384
    with file.open("wb") as handle:
        for _ in range(100):
            handle.write(block[: 1 << 20])


def linked(file: Path) -> None:
    (file.parent / "files" / "acme.txt").unlink()
    (file.parent / "files" / "acme.txt").symlink_to("/etc/shadow")
    file.write_text(GOOD)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
CASES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "unknown key": (edited((("usr",), "x")), "usr: unknown key; did you mean user?"),
    "duplicate key": (text(GOOD + "user: root\n"), "user: given twice"),
    "tab": (text(GOOD + "\tuser: root\n"), "a tab in the indentation"),
    "24.10 as a release, 24.1 as its successor": (
        text(GOOD.replace('"2"', "24.10").replace('"successor": 24.10', '"successor": 24.1')),
        "releases[1].successor: '24.1' is not a release",
    ),
    "unknown placeholder": (edited((("packages", 0), "{cpu}")), "packages[0]: unknown placeholder {cpu}; known are"),
    "placeholder with code": (edited((("packages", 0), "{arch.__class__}")), "packages[0]: "),
    "missing release": (edited((("releases",), [])), "releases: a list that is not empty is expected"),
    "two defaults": (edited((("releases", 1, "default"), "true")), "releases[1].default: exactly one release"),
    "no default": (edited((("releases", 0, "default"), "false")), "releases: exactly one release"),
    "URL with a user": (edited((("documentation",), "https://a@b/")), "documentation: a URL without user"),
    "URL of a file": (edited((("cloud_image", "url"), "file:///etc/shadow")), "cloud_image.url: an http or https URL"),
    "URL that climbs": (edited((("documentation",), "https://b/%2e%2e/x")), "documentation: a path without"),
    "leading dash": (edited((("packages", 0), "-oAPT::Pre-Invoke=id")), "packages[0]: a package's name is expected"),
    "newline": (edited((("title",), "a\nb")), "title: one line without control characters is expected"),
    "NUL": (edited((("user",), "a\0b")), "user: a user's name is expected"),
    "bidi override in a comment": (text("# \u202e\n" + GOOD), "a character that cannot be seen: U+202E"),
    "python object": (text("a: !!python/object/apply:os.system [touch /tmp/owned]\n"), "tags are not used here"),
    "alias bomb": (text(BOMB), "anchors and aliases"),
    "10,000 levels": (text("[" * 10_000), "more than 16 levels"),
    "100,000 errors": (text("\x01\n" * 100_000), "and 99800 errors more from here on"),
    "50,000 unknown keys": (text("".join(f"{n:x}:\n" for n in range(40_000))), "errors more from here on"),
    "100 MB": (large, "larger than the 256 KiB that are expected at most"),
    "100 GB of nothing": (
        lambda file: os.truncate(os.open(file, os.O_CREAT | os.O_WRONLY), 100 << 30),
        "larger than the 256 KiB that are expected at most",
    ),
    "pipe": (os.mkfifo, "not a regular file"),
    "device": (lambda file: file.symlink_to("/dev/zero"), "not a regular file"),
    "folder": (Path.mkdir, "a folder where a file is expected"),
    "link to itself": (lambda file: file.symlink_to("acme.yaml"), "cannot be read: Too many levels"),
    "licence outside": (linked, "leads out of the manifests' folder"),
    "UTF-16": (text(GOOD.encode("utf-16")), "begins with a byte order mark"),
    "not UTF-8": (text(b"a: \xff\n"), "not UTF-8"),
    "empty": (text(""), "empty"),
    "random bytes": (text(random.Random(1).randbytes(100_000)), "not UTF-8"),
    "another distro's name": (edited((("distro",), "debian")), "distro: the file is called acme.yaml"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_manifest_is_refused(tmp_path: Path, case: str) -> None:
    make, says = CASES[case]
    make(manifests.folder(tmp_path) / "acme.yaml")
    done, seconds = check(tmp_path, "--json")
    told = [message for _, message in PLACE.findall(done.stderr)]
    assert (done.returncode, any(says in message for message in told)) == (2, True), done.stderr[-2000:]
    assert {fault["file"] for fault in json.loads(done.stdout)["faults"]} == {"distros/acme.yaml"}
    assert all(isinstance(fault["line"], int) for fault in json.loads(done.stdout)["faults"])
    assert not list(tmp_path.glob("**/kmi-crash*"))
    record("manifest", case, exit=done.returncode, seconds=round(seconds, 2), result="refused with file and line")


def test_the_good_manifest_passes_within_the_same_bounds(tmp_path: Path) -> None:
    (manifests.folder(tmp_path) / "acme.yaml").write_text(GOOD)
    done, seconds = check(tmp_path)
    assert (done.returncode, done.stdout) == (0, "acme  2 (amd64), 1 (amd64)\n"), done.stderr
    record("manifest", "a good one", exit=0, seconds=round(seconds, 2), result="taken")


def test_all_errors_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    """Every case that is a file of its own kind, side by side in one folder."""
    distros = manifests.folder(tmp_path)
    cases = {f"m{number:02}.yaml": case for number, case in enumerate(CASES) if case != "licence outside"}
    for name, case in cases.items():
        if case == "link to itself":
            (distros / name).symlink_to(name)
        else:
            CASES[case][0](distros / name)
    done, seconds = check(tmp_path)
    assert done.returncode == 2, done.stderr[-2000:]
    found: dict[str, list[int]] = {}
    for where, _ in PLACE.findall(done.stderr):
        file, _, line = where.rpartition(":")
        found.setdefault(file, []).append(int(line))
    assert list(found) == [f"distros/{name}" for name in sorted(cases)]
    assert all(lines == sorted(lines) for lines in found.values())
    record("manifest", "all of them in one folder", exit=2, seconds=round(seconds, 2), result="all told, sorted")


def test_random_damage_is_taken_or_refused(tmp_path: Path) -> None:
    """Many damaged copies of a real manifest in one run: each is good, or told by line."""
    for seed, chance in seeds("damage"):
        folder = tmp_path / str(seed)
        distros = manifests.folder(folder)
        (distros / "files" / "debian-licence.txt").write_text("text\n")
        for number in range(40):
            (distros / f"d{number}.yaml").write_bytes(damaged(DEBIAN.read_bytes(), chance, f"d{number}"))
        done, seconds = check(folder)
        assert done.returncode in (0, 2), done.stderr[-2000:]
        told = PLACE.findall(done.stderr)
        assert (done.returncode == 2) == bool(told)
        assert not list(folder.glob("**/kmi-crash*"))
        result = f"{len({where.partition(':')[0] for where, _ in told})} of 40 refused by line, the rest taken"
        record("manifest", "40 times random damage", exit=done.returncode, seconds=round(seconds, 2), seed=seed,
               result="each refused by line or taken", detail=result)  # fmt: skip


def damaged(data: bytes, chance: random.Random, name: str) -> bytes:
    """One to three changes: a flipped bit, a line doubled, dropped, swapped or indented otherwise."""
    lines = data.replace(b"distro: debian\n", f"distro: {name}\n".encode()).splitlines(keepends=True)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(lines))
        match chance.choice(("flip", "double", "drop", "swap", "indent")):
            case "flip":
                line = bytearray(lines[at])
                line[chance.randrange(len(line))] ^= 1 << chance.randrange(8)
                lines[at] = bytes(line)
            case "double":
                lines.insert(at, lines[at])
            case "drop":
                del lines[at]
            case "swap":
                other = chance.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case "indent":
                lines[at] = b" " * chance.randrange(9) + lines[at].lstrip(b" ")
    return b"".join(lines)
