"""What kmi asks of ssh, and what it makes of the answers of a server; ssh is simulated by a program of that name that
answers as OpenSSH does (sshconnect2.c)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kmi.boot import ssh
from kmi.host.run import Result

Says = Callable[..., Path]


@pytest.fixture
def says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Has ``ssh`` write this and end so; returns the file with the words that it was called with."""

    def make(stderr: str, status: int, stdout: str = "") -> Path:
        (tmp_path / "err").write_text(stderr)
        (tmp_path / "out").write_text(stdout)
        program, words = tmp_path / "bin/ssh", tmp_path / "words"
        program.parent.mkdir()
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$@" > {words}\ncat {tmp_path}/err >&2\ncat {tmp_path}/out\nexit {status}\n'
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        return words

    return make


def denial(methods: str) -> str:
    return f"debian@127.0.0.1: Permission denied ({methods}).\n"


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        (denial("publickey"), {"publickey"}),
        (denial("publickey,password"), {"publickey", "password"}),
        (denial("publickey,keyboard-interactive"), {"publickey", "keyboard-interactive"}),
        (f"Unauthorised use is forbidden.\n{denial('publickey')}", {"publickey"}),
    ],
)
def test_the_methods_that_a_server_offers(says: Says, text: str, offered: set[str]) -> None:
    words = says(text, 255).with_name("words")
    assert ssh.methods(user="debian", port=22022) == offered
    asked = words.read_text().split("\n")
    assert "PreferredAuthentications=none" in asked
    assert asked[asked.index("-l") + 1] == "debian"
    assert "-i" not in asked


@pytest.mark.parametrize(
    "text", ["", "Connection reset by peer\n", "Permission denied ().\n", f"Permission denied ({'x' * 9999}).\n"]
)
def test_a_server_that_does_not_say_offers_nothing_known(says: Says, text: str) -> None:
    says(text, 255)
    assert ssh.methods(user="debian", port=1) is None


@pytest.mark.parametrize("status", [0, 1, 126])
def test_a_server_that_lets_in_offers_none(says: Says, status: int) -> None:
    """Whatever the command's own status is."""
    says("", status)
    assert ssh.methods(user="debian", port=1) == {"none"}


@pytest.mark.parametrize(
    ("status", "text", "denied"),
    [
        (255, denial("publickey"), True),
        (255, "Connection refused", False),
        (1, "cat: /etc/shadow: Permission denied", False),
    ],
)
def test_a_denial_is_the_servers(status: int, text: str, denied: bool) -> None:
    assert ssh.denied(Result(status=status, stdout="", stderr=text)) is denied


@pytest.mark.parametrize("user", ["-oProxyCommand=touch {}", "-F{}", "a@b", "--"])
def test_a_user_that_an_image_names_is_never_an_option(tmp_path: Path, user: str) -> None:
    """The real ssh, which finds nobody at port 1."""
    key = ssh.Key(private=tmp_path / "none", public="")
    found = ssh.execute("true", user=user.format(tmp_path / "bait"), port=1, key=key, seconds=10)
    assert found.status == ssh.UNREACHED
    assert list(tmp_path.iterdir()) == []
    assert ssh.command(user=user, port=1, key=key)[-3:] == ["-l", user, ssh.HOST]
