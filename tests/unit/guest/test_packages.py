from __future__ import annotations

import io
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(deadline=None, max_examples=50)
@given(names=st.lists(WORDS, min_size=1, max_size=4))
def test_a_real_shell_hands_every_name_over_as_it_is(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("shell")
    apt = folder / "apt-get"
    apt.write_text(f"""#!/bin/sh\nprintf '%s\\0' "$@" > {folder}/args\n""")
    apt.chmod(0o755)
    text = script(MANAGERS["apt"], names, upgrade="none", override=False)
    env = {"PATH": f"{folder}:/usr/bin:/bin"}
    subprocess.run(["sh", "-eu", "-c", text], env=env, cwd=folder, check=True, capture_output=True)
    given_words = (folder / "args").read_bytes().decode().split("\0")[:-1]
    assert given_words[given_words.index("install") + 1 :] == names
    assert {path.name for path in folder.iterdir()} == {"apt-get", "args"}


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
