from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kmi.errors import BuildError
from kmi.guest import inventory
from kmi.guest.inventory import applications, dpkg_status, index_name, os_release

STATUS = """\
Package: git
Status: install ok installed
Architecture: amd64
Version: 1:2.39.5-0+deb12u2
Description: a tool
 with Package: in its text

Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u10

Package: libnss-systemd
Status: install ok installed
Architecture: amd64
Source: systemd (252.1)
Version: 252.1-b1

Package: gone
Status: deinstall ok config-files
Version: 1
"""


def test_installed_packages_with_their_sources() -> None:
    packages = {package.name: package for package in dpkg_status(STATUS)}
    assert list(packages) == ["git", "libc6", "libnss-systemd"]
    assert (packages["git"].source, packages["git"].source_version) == ("git", "1:2.39.5-0+deb12u2")
    assert (packages["libc6"].source, packages["libc6"].source_version) == ("glibc", "2.36-9+deb12u10")
    assert (packages["libnss-systemd"].source, packages["libnss-systemd"].source_version) == ("systemd", "252.1")


def test_os_release_quoting() -> None:
    text = '# x\nID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nBROKEN=\'x\nNO\n=y\nEMPTY=\n'
    assert dict(os_release(text)) == {"ID": "debian", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)", "EMPTY": ""}


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("NAME='a\x1b[2Jb'", {"NAME": "a�[2Jb"}),
        ("NAME='a\u202eb'", {"NAME": "a�b"}),
        ("NAME=a\rb\r", {"NAME": ""}),
        ("NAME=$(reboot)", {"NAME": "$(reboot)"}),
        ("NAME=`id`", {"NAME": "`id`"}),
        ("N\x85ME=x", {}),
        ("NAM\u00c9=x", {}),
        ("A=1\x1cB=2\u2028C=3", {"A": "1�B=2\u2028C=3"}),
        ("__class__=x", {"__class__": "x"}),
    ],
)
def test_os_release_keeps_no_character_that_steers_anything(line: str, kept: dict[str, str]) -> None:
    assert dict(os_release(line + "\n")) == kept


@given(st.text(st.characters()))
def test_any_os_release_is_names_and_printable_values(text: str) -> None:
    for name, value in os_release(f"NAME={text}\nB='{text}'\n{text}=c"):
        assert name.isascii() and name.isidentifier()
        assert not any((ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 for c in value)
        assert "\n" not in value


def test_a_line_of_the_largest_size_takes_no_time() -> None:
    began = time.monotonic()
    os_release("NAME='" + "x" * inventory._OS_RELEASE + "'\n")
    assert time.monotonic() - began < 5


BROKEN = ("a b", "a\x1b[2J", "", "\u202egit", "x" * 256, "a\x00")


@pytest.mark.parametrize("word", BROKEN)
@pytest.mark.parametrize("field", ["Package", "Version"])
def test_a_package_that_dpkg_would_not_take_is_refused(field: str, word: str) -> None:
    fields = {"Package": "git", "Status": "install ok installed", "Version": "1", "Architecture": "all", field: word}
    text = "".join(f"{name}: {value}\n" for name, value in fields.items())
    with pytest.raises(BuildError, match="damaged"):
        dpkg_status(text)


@given(st.text(st.characters()))
def test_any_database_is_refused_or_printable_words(text: str) -> None:
    entry = f"Package: {text}\nStatus: install ok installed\nVersion: {text}\nSource: {text}\n\n"
    for given_text in (text, entry):
        try:
            found = dpkg_status(given_text)
        except BuildError:
            continue
        for package in found:
            words = (package.name, package.version, package.source, package.source_version)
            assert all(word.isascii() and word.isprintable() and " " not in word for word in words)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("Package: a\nStatus: x installed\nVersion: 1\n\n" * 150_000, id="packages"),
        pytest.param("\n" * (8 << 20), id="line ends"),
        pytest.param("Package: a\nX: " + "y" * (8 << 20), id="one line"),
        pytest.param("Package: " + "a" * (8 << 20) + "\nStatus: x installed\n", id="one name"),
    ],
)
def test_a_huge_database_takes_little_more_than_its_text(text: str) -> None:
    tracemalloc.start()
    try:
        dpkg_status(text)
    except BuildError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 64 << 20


def row(**changes: object) -> dict[str, object]:
    """As guestfs(3) has it, inspect_list_applications2."""
    given = {"name": "git", "epoch": 0, "version": "2.51.0", "release": "1.fc44", "arch": "x86_64",
             "source_package": ""} | changes  # fmt: skip
    return {f"app2_{name}": value for name, value in given.items()}


def test_what_libguestfs_lists_of_rpm_pacman_and_apk() -> None:
    found = applications(
        [
            row(),
            row(name="bash", epoch=1, release="", source_package="bash-src"),
            row(name="gpg-pubkey", arch="(none)"),
        ],
        "-",
    )
    assert [(package.name, package.version, package.source) for package in found] == [
        ("bash", "1:2.51.0", "bash-src"), ("git", "2.51.0-1.fc44", "git"),
    ]  # fmt: skip


@pytest.mark.parametrize("rows", [[], [row(name="a b")], [row(version="\x1b[2J")], [row(arch="x\u202e")]])
def test_a_list_that_is_empty_or_damaged_is_refused(rows: list[dict[str, object]]) -> None:
    with pytest.raises(BuildError):
        applications(rows, "-")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/var/lib/apt/lists/mirror.example_debian_dists_bookworm_InRelease", "dists_bookworm_InRelease"),
        ("/var/lib/apt/lists/mirror.example_flat_InRelease", "InRelease"),
        ("/var/cache/dnf/baseos-0123456789abcdef/repodata/repomd.xml", "baseos"),
        ("/var/cache/libdnf5/updates-fedora-0123456789abcdef/repodata/repomd.xml", "updates-fedora"),
        ("/var/cache/zypp/raw/repo-oss/repodata/repomd.xml", "repo-oss"),
        ("/var/lib/pacman/sync/core.db", "core.db"),
        ("/var/cache/apk/APKINDEX.f00dcafe.tar.gz", "APKINDEX.f00dcafe.tar.gz"),
    ],
)
def test_an_index_has_a_name_without_the_mirrors(path: str, name: str) -> None:
    assert index_name(path) == name
