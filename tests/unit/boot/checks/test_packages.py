import pytest

from kmi.boot.checks import Inapplicable, packages
from kmi.boot.console import GaveUp

GIT = """manager=dpkg
version=1:2.39.5-0+deb12u3
ran=0 /usr/bin/git 
ran=129 /usr/bin/git-receive-pack error: unknown option `version'
ran=128 /usr/bin/git-shell 
"""  # noqa: W291 -- as the guest says it
TMUX = "manager=dpkg\nversion=3.3a-3\nran=1 /usr/bin/tmux \n"
DATA = "manager=dpkg\nversion=2025b\n"
MISSING = "manager=dpkg\nversion=\n"


def test_installed_packages_whose_programs_start_pass(guest):
    found = guest(GIT, TMUX, DATA, metadata={"packages": "git tmux tzdata"})
    assert packages.CHECK.run(found) == "3 packages are installed, and 4 of their programs start: git, tmux, tzdata"
    for name, asked in zip(("git", "tmux", "tzdata"), found.ask.asked, strict=True):
        assert f"package={name}\n" in asked


def test_a_package_that_is_not_there_fails_by_name(guest):
    with pytest.raises(GaveUp, match=r"^tmux is not installed, says dpkg$"):
        packages.CHECK.run(guest(GIT, MISSING, metadata={"packages": "git tmux"}))


@pytest.mark.parametrize(
    ("ran", "words"),
    [
        (
            "127 /usr/bin/tmux /usr/bin/tmux: error while loading shared libraries: libevent.so.7: cannot open",
            "libevent",
        ),
        ("127 /usr/bin/tmux Error loading shared library libevent.so.7: No such file", "exit status 127"),
        ("127 /usr/bin/tmux", "127, without a word"),
        ("126 /usr/bin/tmux timeout: failed to run command '/usr/bin/tmux': Exec format error", "126, timeout: failed"),
        ("1 /usr/bin/tmux /lib/libc.so.6: version `GLIBC_2.38' not found (required by tmux)", "exit status 1, "),
        ("1 /usr/bin/tmux ModuleNotFoundError: No module named 'apt'", "ModuleNotFoundError"),
        ("132 /usr/bin/tmux ", "ends by an illegal instruction"),
        ("139 /usr/bin/tmux ", "ends by a segmentation fault"),
        ("many /usr/bin/tmux ", "no exit status of /usr/bin/tmux"),
    ],
)
def test_a_program_that_does_not_start_fails(guest, ran, words):
    with pytest.raises(GaveUp, match=words):
        packages.CHECK.run(guest(f"{TMUX}ran={ran}\n", metadata={"packages": "tmux"}))


def test_a_guest_without_a_known_manager_is_not_asked(guest):
    with pytest.raises(Inapplicable, match="no package manager"):
        packages.CHECK.run(guest("version=\n", metadata={"packages": "tmux"}))


@pytest.mark.parametrize("label", ["git $(reboot)", "git;reboot", "--root=/mnt", "a" * 200, "x " * 201])
def test_a_label_that_names_no_packages_fails_before_anything_is_asked(guest, label):
    found = guest(GIT, metadata={"packages": label})
    with pytest.raises(GaveUp):
        packages.CHECK.run(found)
    assert len(found.ask.asked) == 0


def test_a_recipe_that_installs_nothing_is_skipped(guest):
    full = guest().metadata
    assert packages.CHECK.skip(full) == "the recipe installs nothing"
    assert packages.CHECK.skip({**full, "packages": "git"}) is None
    assert packages.CHECK.skip({**full, "packages": "git", "user": ""}) == "the image has no default user"
