"""What can lie in a folder of manifests beside good manifests, and YAML that is none: told, bounded, never a crash."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from kmi.catalogue import load
from kmi.catalogue.document import SIZE_LIMIT
from kmi.catalogue.faults import LIMIT
from kmi.errors import FaultsError, UsageError
from tests import manifests
from tests.manifests import FULL, faults, put, written

GOOD = written(FULL)
SOON = 20.0
"""Seconds that no manifest may take, on a machine that is busy otherwise."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return manifests.folder(tmp_path)


def told(distros: Path) -> list[tuple[str, str]]:
    with pytest.raises(FaultsError) as caught:
        load(distros)
    return list(caught.value.faults)


DEEP = 10_000
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (b"\xef\xbb\xbf" + GOOD.encode(), 1, "begins with a byte order mark"),
        (GOOD.encode("utf-16"), 1, "begins with a byte order mark"),
        (GOOD.encode("utf-16-le"), 1, "cannot be seen: U+0000"),
        (GOOD.encode("utf-32"), 1, "begins with a byte order mark"),
        (b"distro: acme\ntitle: \xc3\x28\n", 2, "not UTF-8"),
        (b"distro: acme\ntitle: \xed\xa0\x80\n", 2, "not UTF-8"),
        ("# a comment \u202e that lies\n" + GOOD, 1, "cannot be seen: U+202E"),
        (GOOD + "# \u2028title: x\n", GOOD.count("\n") + 1, "cannot be seen: U+2028"),
        (GOOD + "a: b\rc: d\n", GOOD.count("\n") + 1, "cannot be seen: U+000D"),
        (GOOD + "\x85", GOOD.count("\n") + 1, "cannot be seen: U+0085"),
        ("", 1, "empty"),
        ("\n\n# nothing\n\n", 1, "empty"),
        ("---\n...\n", 2, "manifest: "),
        ("- a\n- b\n", 1, "manifest: "),
        ("null\n", 1, "manifest: "),
        (GOOD + "---\n", GOOD.count("\n") + 1, "a second document"),
        (GOOD + "...\n---\na: b\n", GOOD.count("\n") + 2, "a second document"),
        ("%YAML 1.1\n---\n" + GOOD, 1, "directives (%) are not used here"),
        ("%TAG ! tag:x,2000:\n---\n" + GOOD, 1, "directives (%) are not used here"),
        (BOMB, 1, "anchors and aliases (& and *) are not used here"),
        ("a: &a [*a]\n", 1, "anchors and aliases"),
        ("a: !!python/object/apply:os.system [id]\n", 1, "tags are not used here: 'tag:yaml.org,2002:python/object"),
        ("a: !!binary aGk=\n", 1, "tags are not used here"),
        ("a: ! x\n", 1, "tags are not used here"),
        ("distro: acme\n\ttitle: x\n", 2, "not YAML: a tab in the indentation; spaces are expected"),
        ("releases:\n  - version: 1\n\t  tier: x\n", 3, "not YAML: a tab in the indentation"),
        ("[" * DEEP + "]" * DEEP, 1, "more than 16 levels"),
        ("{a: " * DEEP, 1, "more than 16 levels"),
        ("- " * DEEP + "a\n", 1, "more than 16 levels"),
        ("".join(" " * depth + "a:\n" for depth in range(500)), 17, "more than 16 levels"),
        ("? " * DEEP + "a\n", 1, "more than 16 levels"),
        ("{[a]: b}\n", 1, "a key is text"),
        ("a: " + "x" * 200_000 + "\n", 1, "a: unknown key"),
        ("x" * 200_000, 1, "manifest: "),
        ("a" * 2000 + ": b\n", 1, "not YAML"),
        ("<<: {a: b}\n" + GOOD, 1, "<<: unknown key"),
        ('"a\\ud800": b\n', 1, "not YAML"),
        ('"a\\x00b": c\n', 1, "'a\\x00b': unknown key"),
    ],
)
def test_a_file_that_is_no_manifest(folder: Path, text: str | bytes, line: int, says: str) -> None:
    began = time.monotonic()
    found = faults(folder, text)
    assert time.monotonic() - began < SOON
    assert any(where == f"distros/acme.yaml:{line}" and says in message for where, message in found), found[:5]
    assert all(message.isprintable() and len(message) < 1000 for _, message in found)


def test_windows_line_ends_are_no_fault(folder: Path) -> None:
    assert faults(folder, GOOD.replace("\n", "\r\n")) == []


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"k{number}: x\n" for number in range(25_000)),
        "k: x\n" * 40_000,
        "\x01\n" * 100_000,
        "distro: acme\nreleases:\n" + "  - {}\n" * 25_000,
        "distro: acme\nreleases:\n" + "  - {version: 1, tier: x}\n" * 9_000,
        "packages: [" + "-," * 100_000 + "]",
        "? a\n" * 60_000,
    ],
)
def test_a_file_with_endless_errors_ends_soon(folder: Path, text: str) -> None:
    began = time.monotonic()
    found = faults(folder, text)
    assert time.monotonic() - began < SOON
    assert LIMIT + 1 >= len(found) > 0
    if len(found) > LIMIT:
        assert found[-1][1].startswith("and ")


def test_thousands_of_releases(folder: Path) -> None:
    head = written({**FULL, "releases": FULL["releases"][:1]})
    line = '- {"version": "r%d", "codename": "c%d", "tier": "planned", "architectures": ["amd64"]}\n'
    began = time.monotonic()
    assert faults(folder, head + "".join(line % (number, number) for number in range(2000))) == []
    assert len(load(folder).specs) == 2001
    assert time.monotonic() - began < SOON


def test_size_is_asked_before_reading(folder: Path) -> None:
    with (folder / "acme.yaml").open("wb") as file:
        file.truncate(100 << 30)
    assert told(folder) == [("distros/acme.yaml:1", "larger than the 256 KiB that are expected at most")]
    (folder / "acme.yaml").write_bytes(GOOD.encode() + b"#" * (SIZE_LIMIT - len(GOOD)))
    assert load(folder).specs


def test_what_is_no_regular_file(folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    (folder / "folder.yaml").mkdir()
    (folder / "gone.yaml").symlink_to("nowhere")
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "zero.yaml").symlink_to("/dev/zero")
    (folder / "old.yml").write_text(GOOD)
    (folder / ".#acme.yaml").symlink_to("an editor's lock")
    (folder / "a\n.yaml").write_text(GOOD)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("distros/socket.yaml")
        found = dict(told(folder))
    assert found == {
        "'distros/a\\n.yaml':1": "distro: the file is called a\\n.yaml, so 'a\\n' is expected",
        "distros/folder.yaml:1": "a folder where a file is expected",
        "distros/gone.yaml:1": "cannot be read: No such file or directory",
        "distros/loop.yaml:1": "cannot be read: Too many levels of symbolic links",
        "distros/old.yml:1": "a manifest's name ends in .yaml",
        "distros/pipe.yaml:1": "not a regular file",
        "distros/socket.yaml:1": "cannot be read: No such device or address",
        "distros/zero.yaml:1": "not a regular file",
    }


def test_a_linked_manifest_is_read(folder: Path, tmp_path: Path) -> None:
    """Kubernetes mounts ConfigMaps as links."""
    (tmp_path / "data").write_text(GOOD)
    (folder / "acme.yaml").symlink_to("../data")
    assert load(folder).specs


@pytest.mark.parametrize("name", ["files/link.txt", "files/acme.txt"])
def test_a_licence_stays_in_the_folder(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    file = folder / name
    if file.exists():  # the folder itself leads out
        (folder / "files").rename(tmp_path / "files")
        (folder / "files").symlink_to(tmp_path / "files")
    else:
        file.symlink_to(tmp_path / "secret")
    found = [message for _, message in faults(folder, written(put(FULL, ("licence", "file"), name)))]
    assert f"licence.file: {name} leads out of the manifests' folder; a file in it is expected" in found
    assert "secret" not in str(found)


def test_a_licence_is_text(folder: Path) -> None:
    file = folder / "files" / "acme.txt"

    def message() -> str:
        found = faults(folder, GOOD)
        assert len(found) == 2, "licence and eula"
        return found[0][1]

    for content, says in (
        (b"", "is empty"), (b" \n", "is empty"), (b"\xff", "not UTF-8"), (b"a\x1b[2Jb", "cannot be seen: U+001B"),
        (b"x" * ((1 << 20) + 1), "larger than the 1024 KiB"), ("\u202e".encode(), "cannot be seen: U+202E"),
    ):  # fmt: skip
        file.write_bytes(content)
        assert says in message()
    file.write_text("Section 1\n\fSection\u00a02\n")
    assert faults(folder, GOOD) == []
    file.unlink()
    os.mkfifo(file)
    assert "not a regular file" in message()
    file.unlink()
    file.symlink_to("acme.txt")
    assert "cannot be read" in message()


def test_two_manifests_of_one_distro_and_two_images_of_one_name(folder: Path) -> None:
    (folder / "other.yaml").write_text(GOOD)
    assert faults(folder, GOOD) == [
        ("distros/other.yaml:1", "distro: the file is called other.yaml, so 'other' is expected")
    ]
    (folder / "other.yaml").unlink()
    short = written(put(put(FULL, ("distro",), "acme-2"), ("releases", 0, "version"), "1")).replace('"1"', '"1"')
    long = written(put(put(FULL, ("releases", 0, "version"), "2-1"), ("releases", 1, "successor"), "2-1"))
    short = written({**FULL, "distro": "acme-2", "releases": [{**FULL["releases"][0], "version": "1"}]})
    (folder / "acme-2.yaml").write_text(short)
    (found,) = faults(folder, long)
    assert found[1].startswith("the image acme-2-1-amd64 is also that of distros/acme-2.yaml:")


def test_every_file_is_told_in_order(folder: Path) -> None:
    for name in "cab":
        (folder / f"{name}.yaml").write_text(GOOD.replace('"title": "Acme Linux"', '"titel": "x"'))
    found = [where for where, _ in told(folder)]
    assert found == [f"distros/{name}.yaml:{line}" for name in "abc" for line in (1, 1, 2)]


def test_a_folder_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    for name, why in (("file", "Not a directory"), ("none", "No such file"), ("empty", "no such file"),
                      ("x" * 300, "File name too long")):  # fmt: skip
        with pytest.raises(UsageError, match="no manifests") as caught:
            load(tmp_path / name)
        assert why in str(caught.value.got)
