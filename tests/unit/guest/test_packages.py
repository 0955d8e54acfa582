from __future__ import annotations

import io
import shlex

from kmi.guest.packages import MANAGERS, SOURCES, Progress, script
from kmi.host.ui import Reporter


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in text.splitlines() if not line.startswith("export ")]


def test_refresh_upgrade_install_in_this_order() -> None:
    text = script(MANAGERS["apt"], ["git", "vim"], upgrade=True, override=False)
    update, upgrade, install = commands(text)
    assert (update[-1], upgrade[-1], install[-3:]) == ("update", "dist-upgrade", ["install", "git", "vim"])
    assert all(SOURCES not in " ".join(words) for words in (update, upgrade, install))


def test_other_archives_are_used_by_every_command() -> None:
    text = script(MANAGERS["apt"], ["git"], upgrade=False, override=True)
    assert len(commands(text)) == 2
    assert all(f"Dir::Etc::SourceList={SOURCES}" in words for words in commands(text))


def test_a_package_name_is_one_word() -> None:
    text = script(MANAGERS["apt"], ["a; touch /owned", "$(reboot)"], upgrade=False, override=False)
    assert commands(text)[-1][-2:] == ["a; touch /owned", "$(reboot)"]


def test_progress_counts_packages() -> None:
    out = io.StringIO()
    with Reporter(out, github=False).step("x", "customize") as step:
        feed = Progress(step)
        feed("1 upgraded, 2 newly installed, 0 to remove")
        feed("Setting up git (1) ...")
        assert step._detail == "1 of 3 packages: Setting up git (1) ..."
