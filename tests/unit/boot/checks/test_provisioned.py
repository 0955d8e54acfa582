"""What a guest says of its user, name, file and keys, held against the seed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kmi.boot.checks import provisioned
from kmi.boot.checks.check import Given, Inapplicable
from kmi.boot.checks.provisioned import judge
from kmi.boot.console import GaveUp
from kmi.boot.seed import SeedKind
from kmi.boot.ssh import Key

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAbc kmi"
OTHER = "ssh-rsa AAAAB3NzaC1yc2E= root@builder"
GIVEN = Given(kind=SeedKind.NOCLOUD, hostname="kmi-test", nonce="0123abcd", key=Key(private=Path("x"), public=KEY))


def said(user: str = "debian", host: str = "kmi-test", file: str = "0123abcd\n", keys: str = f"{KEY}\n") -> str:
    return f"{user}\n--kmi--\n{host}\n--kmi--\n{file}--kmi--\n{keys}"


@pytest.mark.parametrize(
    "text",
    [
        said(),
        said(host="kmi-test.localdomain"),
        said(keys=f"# made by cloud-init\n\n{KEY.removesuffix(' kmi')} another comment\n"),
    ],
)
def test_what_the_seed_says_passes(text: str) -> None:
    assert "debian with the seed's key alone" in judge(text, "debian", GIVEN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (said(user="id: 'debian': no such user"), "no user debian"),
        (said(host="debian"), "host name is 'debian', expected 'kmi-test'"),
        (said(host="kmi-testing"), "host name"),
        (said(file="head: cannot open '/etc/kmi-test' for reading: No such file or directory\n"), "No such file"),
        (said(file=""), "holds ''"),
        (said(keys=""), "does not have the seed's key but 0 other lines"),
        (said(keys=f"{OTHER}\n"), "does not have the seed's key but 1 other"),
        (said(keys=f"{KEY}\n{OTHER}\n"), "not the seed's: 'ssh-rsa"),
        (said(keys=f'no-pty,command="sh" {KEY}\n'), "does not have the seed's key"),
        ("", "makes no sense"),
        (said() + "--kmi--\n", "makes no sense"),
    ],
)
def test_what_is_not_as_the_seed_says_fails(text: str, words: str) -> None:
    with pytest.raises(GaveUp, match=words):
        judge(text, "debian", GIVEN)


def test_the_guest_is_asked_for_the_user_that_the_image_names(guest) -> None:
    one = guest(said(user="core"), metadata={"user": "core"}, given=GIVEN)
    assert "user core" in provisioned.CHECK.run(one)
    assert "id -un core" in one.ask.asked[0]


@pytest.mark.parametrize("name", ["a;reboot", "$(reboot)", "a b", "-x", "x" * 40])
def test_a_user_that_is_none_never_gets_to_a_shell(guest, name: str) -> None:
    one = guest(said(), metadata={"user": name}, given=GIVEN)
    with pytest.raises(GaveUp, match="no user can have"):
        provisioned.CHECK.run(one)
    assert one.ask.asked == []


def test_without_a_seed_there_is_nothing_to_compare(guest) -> None:
    with pytest.raises(Inapplicable):
        provisioned.CHECK.run(guest(said()))


def test_the_script_runs_in_a_plain_shell(guest) -> None:
    """As far as it can on this machine, whose root has a home."""
    one = guest("", metadata={"user": "root"}, given=GIVEN)
    with pytest.raises(GaveUp):
        provisioned.CHECK.run(one)
    shell = shutil.which("dash") or "/bin/sh"
    done = subprocess.run([shell], input=one.ask.asked[0], capture_output=True, text=True, check=True)
    name, host, file, _ = done.stdout.split("--kmi--\n")
    assert (name, host.strip()) == ("root\n", os.uname().nodename)
    assert "/etc/kmi-test" in file
