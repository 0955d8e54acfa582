from __future__ import annotations

import io
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmi.errors import BuildError
from kmi.guest.packages import MANAGERS, SOURCES, Progress, script
from kmi.host.ui import Reporter


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in text.splitlines() if not line.startswith("export ")]


def test_refresh_upgrade_install_in_this_order() -> None:
    text = script(MANAGERS["apt"], ["git", "vim"], upgrade="all", override=False)
    update, upgrade, install = commands(text)
    assert (update[-1], upgrade[-1], install[-3:]) == ("update", "dist-upgrade", ["install", "git", "vim"])
    assert all(SOURCES not in " ".join(words) for words in (update, upgrade, install))


def test_other_archives_are_used_by_every_command() -> None:
    text = script(MANAGERS["apt"], ["git"], upgrade="none", override=True)
    assert len(commands(text)) == 2
    assert all(f"Dir::Etc::SourceList={SOURCES}" in words for words in commands(text))


def test_a_package_name_is_one_word() -> None:
    text = script(MANAGERS["apt"], ["a; touch /owned", "$(reboot)"], upgrade="none", override=False)
    assert commands(text)[-1][-2:] == ["a; touch /owned", "$(reboot)"]


WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


PROGRAMS = ("apt-get", "dnf", "zypper", "pacman", "pacman-key", "gpgconf", "apk")


def programs(folder: Path, text: str) -> dict[str, str]:
    """A script of this text in the place of each package manager; returns the environment that has them."""
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


@pytest.mark.parametrize("name", MANAGERS)
@settings(deadline=None, max_examples=25)
@given(names=st.lists(WORDS, min_size=1, max_size=4))
def test_a_real_shell_hands_every_name_over_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, name: str, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("shell")
    env = programs(folder, f"""case $0 in *key|*conf) ;; *) printf '%s\\0' "$@" > {folder}/args ;; esac""")
    text = script(MANAGERS[name], names, upgrade="none", override=False)
    subprocess.run(["sh", "-eu", "-c", text], env=env, cwd=folder, check=True, capture_output=True)
    assert (folder / "args").read_bytes().decode().split("\0")[-1 - len(names) : -1] == names
    assert {path.name for path in folder.iterdir()} == {*PROGRAMS, "args"}


def ran(folder: Path, name: str, upgrade: str, fails: str = ":") -> tuple[int, list[str]]:
    """The exit status of a script that installs git, and the commands it ran; ``fails`` is shell in each of them."""
    env = programs(folder, f"""echo "${{0##*/}} $*" >> {folder}/ran; {fails}""")
    text = script(MANAGERS[name], ["git"], upgrade=upgrade, override=False).replace("/tmp/kmi", f"{folder}/kmi")
    done = subprocess.run(["sh", "-eu", "-c", text], env=env, cwd=folder, capture_output=True, text=True)
    return done.returncode, (folder / "ran").read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "all_", "security"),
    [
        ("dnf", ["makecache", "upgrade", "install git"], ["makecache", "upgrade --security", "install git"]),
        ("zypper", ["refresh", "dist-upgrade ", "install "], ["refresh", "patch ", "patch ", "install "]),
        ("apk", ["update", "upgrade", "add git"], None),
    ],
)
def test_each_manager_refreshes_upgrades_and_installs(
    tmp_path: Path, name: str, all_: list[str], security: list[str] | None
) -> None:
    status, commands = ran(tmp_path, name, "all")
    assert status == 0 and len(commands) == len(all_)
    assert all(part in command for part, command in zip(all_, commands, strict=True))
    (tmp_path / "ran").unlink()
    if security is None:
        with pytest.raises(BuildError, match="cannot tell security updates"):
            ran(tmp_path, name, "security")
        return
    status, commands = ran(tmp_path, name, "security")
    assert status == 0 and all(part in command for part, command in zip(security, commands, strict=True))


def test_pacman_never_upgrades_in_part_and_leaves_no_keyring(tmp_path: Path) -> None:
    for upgrade in ("all", "security", "none"):
        status, commands = ran(tmp_path, "pacman", upgrade)
        assert status == 0
        assert [command.split()[0] for command in commands] == ["pacman-key"] * 2 + ["pacman"] * 2 + ["gpgconf"]
        assert commands[2].endswith("-Syu") and commands[3].endswith("-S --needed git")
        assert all(f"{tmp_path}/kmi-keyring" in command for command in commands), "not the guest's own"
        (tmp_path / "ran").unlink()


@pytest.mark.parametrize("name", MANAGERS)
def test_a_command_that_fails_ends_the_script(tmp_path: Path, name: str) -> None:
    status, commands = ran(tmp_path, name, "all", fails="exit 7")
    assert status != 0 and len(commands) == 1


@pytest.mark.parametrize(("status", "good"), [(0, True), (102, True), (103, True), (4, False), (104, False)])
def test_zypper_says_with_its_status_that_something_has_to_restart(tmp_path: Path, status: int, good: bool) -> None:
    """zypper(8), exit codes: 102 and 103 follow a successful installation."""
    code, commands = ran(tmp_path, "zypper", "security", fails=f"case $* in *patch*) exit {status} ;; esac")
    assert (code == 0) == good == (len(commands) == 4)


@pytest.mark.parametrize("name", MANAGERS)
@pytest.mark.parametrize("upgrade", ["all", "none"])
def test_every_script_is_one_of_a_posix_shell(name: str, upgrade: str) -> None:
    text = script(MANAGERS[name], ["git", "qemu-guest-agent"], upgrade=upgrade, override=False)
    subprocess.run(["sh", "-n", "-c", text], check=True, capture_output=True)


@pytest.mark.parametrize("name", [name for name in MANAGERS if name != "apt"])
def test_other_archives_are_not_ignored_where_there_is_no_way_to_them(name: str) -> None:
    with pytest.raises(BuildError, match="other archives"):
        script(MANAGERS[name], [], upgrade="none", override=True)


PLAN = """\
Reading package lists...
Inst libc6 [2.36-9+deb12u9] (2.36-9+deb12u14 Debian-Security:12/oldstable-security [amd64])
Inst tzdata [2025a-0] (2025b-0 Debian:12.11/oldstable, Debian:12-updates/oldstable-updates [all])
Inst openssh-server [1:9.2p1-2] (1:9.2p1-2+deb12u7 Debian:12/oldstable, Debian-Security:12/oldstable-security [amd64])
Conf libc6 (2.36-9+deb12u14 Debian-Security:12/oldstable-security [amd64])
"""


def test_a_security_upgrade_takes_only_what_has_a_security_update(tmp_path: Path) -> None:
    """The script's own lines, run by a shell, with an apt-get that prints what Debian's prints."""
    text = script(MANAGERS["apt"], [], upgrade="security", override=False).replace("/tmp/", f"{tmp_path}/")
    apt = tmp_path / "apt-get"
    apt.write_text(f"""#!/bin/sh\ncase "$*" in *--simulate*) printf '%s' '{PLAN}' ;; *) echo "did $*" ;; esac\n""")
    apt.chmod(0o755)
    result = subprocess.run(
        ["sh", "-eu", "-c", text], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1].endswith("install --only-upgrade libc6 openssh-server")


def test_progress_counts_packages() -> None:
    out = io.StringIO()
    with Reporter(out, github=False).step("x", "customize") as step:
        feed = Progress(step)
        feed("1 upgraded, 2 newly installed, 0 to remove")
        feed("Setting up git (1) ...")
        assert step._detail == "1 of 3 packages: Setting up git (1) ..."


@pytest.mark.parametrize(
    "line",
    [
        "  Installing       : git-2.51.0-1.fc44.x86_64                                 3/12",
        "[ 3/12] Installing git-0:2.51.0-1.fc44.x86_64",
        "( 3/12) Installing: git-2.51.0-1.1.x86_64 [..done]",
        "( 3/12) installing git",
        "(3/12) Installing git (2.51.0-r0)",
    ],
)
def test_progress_reads_what_the_others_print(line: str) -> None:
    out = io.StringIO()
    with Reporter(out, github=False).step("x", "customize") as step:
        Progress(step)(line)
        assert step._detail.startswith("3 of 12 packages: ")


@pytest.mark.parametrize("line", ["", "0/0", "(0/0) x", "Get:3 http://x/3/4", "( / )", "9" * 10_000, "(" * 10_000])
def test_progress_counts_nothing_else(line: str) -> None:
    out = io.StringIO()
    with Reporter(out, github=False).step("x", "customize") as step:
        Progress(step)(line)
        assert "packages: " not in step._detail
