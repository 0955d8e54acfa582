"""What is read from /etc/selinux/config, and which way a guest gets its labels."""

from __future__ import annotations

from typing import Any

import pytest

from kmi.guest.selinux import agent_keys, policy, relabel


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SELINUX=enforcing\nSELINUXTYPE=targeted\n", "targeted"),
        ("# SELINUX=disabled\nSELINUX=permissive\nSELINUXTYPE=mls", "mls"),
        ("SELINUX=enforcing\n", "targeted"),
        ("SELINUX=disabled\nSELINUXTYPE=targeted\n", None),
        ("SELINUX=enforcing\nSELINUXTYPE=../../etc\n", "targeted"),
        ("", None),
    ],
)
def test_policy(text: str, kind: str | None) -> None:
    assert policy(text) == kind


class Guest:
    """Simulated: files and one feature of libguestfs (guestfs(3), feature_available, selinux_relabel)."""

    def __init__(self, files: dict[str, bytes], *, feature: bool) -> None:
        self.files = files
        self.feature = feature
        self.relabelled: list[tuple[str, str]] = []

    def is_file(self, path: str, **_: Any) -> bool:
        return path in self.files

    def is_dir(self, path: str, **_: Any) -> bool:
        return path == "/"

    def filesize(self, path: str) -> int:
        return len(self.files[path])

    def pread(self, path: str, count: int, offset: int) -> bytes:
        return self.files[path][offset : offset + count]

    def rm_f(self, path: str) -> None:
        self.files.pop(path, None)

    def write(self, path: str, content: bytes) -> None:
        self.files[path] = content

    def feature_available(self, names: list[str]) -> bool:
        assert names == ["selinuxrelabel"]
        return self.feature

    def selinux_relabel(self, specfile: str, path: str, force: bool) -> None:
        self.relabelled.append((specfile, path))


CONFIG = {"/etc/selinux/config": b"SELINUX=enforcing\nSELINUXTYPE=targeted\n"}
CONTEXTS = "/etc/selinux/targeted/contexts/files/file_contexts"


@pytest.mark.parametrize(
    ("files", "feature", "relabelled", "later"),
    [
        ({}, True, [], False),
        ({"/etc/selinux/config": b"SELINUX=disabled\n"}, True, [], False),
        (CONFIG | {CONTEXTS: b""}, True, [(CONTEXTS, "/")], False),
        (CONFIG | {CONTEXTS: b""}, False, [], True),
        (CONFIG, True, [], True),
    ],
)
def test_labels_are_set_now_or_at_the_first_start(
    files: dict[str, bytes], feature: bool, relabelled: list[tuple[str, str]], later: bool
) -> None:
    guest = Guest(dict(files), feature=feature)
    relabel(guest)  # type: ignore[arg-type]
    assert (guest.relabelled, "/.autorelabel" in guest.files) == (relabelled, later)


@pytest.mark.parametrize(
    ("files", "asked"),
    [(CONFIG, 1), ({}, 0), ({"/etc/selinux/config": b"SELINUX=disabled\nSELINUXTYPE=targeted\n"}, 0)],
)
def test_the_agent_may_write_keys_where_selinux_rules(files: dict[str, bytes], asked: int) -> None:
    scripts: list[str] = []
    guest = Guest(dict(files), feature=True)
    guest.shell = lambda script, *, on_line: scripts.append(script)  # type: ignore[attr-defined]
    agent_keys(guest, print)  # type: ignore[arg-type]
    assert len(scripts) == asked
    assert all("setsebool -N -P virt_qemu_ga_manage_ssh on" in script for script in scripts)
