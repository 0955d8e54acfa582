"""``kmi.toml``, ``KMI_*`` and flags that mean harm: everything that is wrong is told at once, with file and line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from kmi.errors import FaultsError
from kmi.settings import load


def wrong(folder: Path, text: str | bytes = b"", environ: dict[str, str] | None = None, **flags: object) -> list[str]:
    """What is told, each ``where: message``."""
    (folder / "kmi.toml").write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    with pytest.raises(FaultsError) as caught:
        load(folder, environ or {}, flags)
    assert caught.value.exit_code == 2
    assert all(message.isprintable() and len(message) < 1000 for _, message in caught.value.faults)
    return [f"{where}: {message}" for where, message in caught.value.faults]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_everything_that_is_wrong_is_told_at_once(here: Path) -> None:
    text = 'registry = 3\n\ncahce = "x"\npatience = "soon"\n[mirrors]\n"https://a/" = 4\n'
    assert wrong(here, text, {"KMI_KEY": "a\0b", "KMI_OUTPUT": "x" * 300}, distros="") == [
        "kmi.toml:1: setting 'registry' is not text, but 3",
        "kmi.toml:3: unknown setting 'cahce'; did you mean 'cache'?",
        "kmi.toml:4: setting 'patience' is no time; seconds, 0.1 to 3600, are expected, not 'soon'",
        "kmi.toml:5: setting 'mirrors' maps URL prefixes to URL prefixes, not ('https://a/', 4)",
        "--distros: setting 'distros' is empty, too long or not printable: ''",
        "KMI_KEY: setting 'key' is empty, too long or not printable: 'a\\x00b'",
        f"KMI_OUTPUT: setting 'output' has a name of more than 255 bytes: '{'x' * 59}…",
    ]


HOSTILE = ["a\0b", "a\nb", "a\tb", "\x1b[2J", "a\u202eb", "a\x85b", "a\udcffb", "x" * 5000]


@pytest.mark.parametrize("name", ["cache", "output", "distros", "key", "keyrings", "registry", "base", "project"])
def test_no_text_is_hostile(here: Path, name: str) -> None:
    for value in HOSTILE:
        assert wrong(here, environ={f"KMI_{name.upper()}": value})
        assert wrong(here, **{name: value})
        escaped = "".join(f"\\U{ord(char):08X}" for char in value[:400]) + "x" * max(0, len(value) - 400)
        assert wrong(here, f'{name} = "{escaped}"')
    for value in ("3", "true", "[]", "{}", "1979-05-27", "nan", '""', "['a']", "[[1]]"):
        assert wrong(here, f"{name} = {value}")[0].startswith("kmi.toml:1: setting ")


@pytest.mark.parametrize("name", ["mirrors", "package_mirrors"])
def test_no_mirror_is_hostile(here: Path, name: str) -> None:
    for value in ("x", "https://a/=", "=https://a/", "https://a/=b", "/etc/=/x", "https://a/\u202e=https://b/"):
        assert wrong(here, environ={f"KMI_{name.upper()}": value})
    for text in ('{"https://a/" = ""}', '{"" = "https://a/"}', '{"https://a/" = "b c"}', '{"https://a/" = []}',
                 '{"https://a/" = [[]]}', '{"https://a/" = "https://b/\\u0000"}', "[]",
                 "3", '{"a b:c" = "d:e"}'):  # fmt: skip
        assert wrong(here, f"{name} = {text}")[0].startswith("kmi.toml:1: setting ")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e9", "true", '"x"', "9" * 400, "[1]"])
def test_patience_is_no_other_value(here: Path, value: str) -> None:
    assert "is no time" in wrong(here, f"patience = {value}")[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("registry = \n", ":1: cannot read kmi.toml: Invalid value"),
        ('base = "a"\nregistry = "x\n', ":2: cannot read kmi.toml: "),
        ('base = "a"\nbase = "b"\n', ":2: cannot read kmi.toml: Cannot overwrite a value"),
        ('base = """\n' * 3, ":3: cannot read kmi.toml: "),
        ("x = " + "[" * 2000 + "\n", ":1: cannot read kmi.toml: brackets within brackets, too deep"),
        ("x = " + "1" * 2000 + "\n", ":1: unknown setting 'x'"),
        ("x = [" + ("1" * 2000 + ",\n") * 4 + "]\n", ":1: unknown setting 'x'"),
        ("a." * 1000 + "b = 1\n", ":1: unknown setting 'a'"),
        ("registry." + "a." * 1000 + "b = 1\n", ":1: setting 'registry' is not text"),
        ("a." * 5000 + "b = 1\n", ":1: cannot read kmi.toml: a line of more than 2048 characters"),
        ("#" * 70_000, ":1: cannot read kmi.toml: larger than the 64 KiB"),
        (b"registry = 'a\xff'\n", ":1: cannot read kmi.toml: not UTF-8"),
        (b"\xef\xbb\xbfregistry = 'local'\n", ":1: cannot read kmi.toml: begins with a byte order mark"),
        ("\n# \u202e\n", ":2: cannot read kmi.toml: a character that cannot be seen: U+202E"),
        ('"a\\nb" = 1\n', ":1: unknown setting 'a\\nb'"),
        ("[registry]\nx = 1\n", ":1: setting 'registry' is not text"),
        ("[[mirrors]]\nx = 1\n", ":1: setting 'mirrors' maps"),
        ('KMI_CACHE = "x"\n', ":1: unknown setting 'KMI_CACHE'"),
    ],
)
def test_a_hostile_file_is_told_by_line(here: Path, text: str | bytes, says: str) -> None:
    began = time.monotonic()
    assert wrong(here, text)[0].startswith(f"kmi.toml{says}")
    assert time.monotonic() - began < 20


def test_the_slowest_file_that_is_read_ends_soon(here: Path) -> None:
    """A dotted key costs the square of its length; lines and size are bounded for that."""
    lines = ["[" + "h." * 1000 + "h]\n", *(f"{'k.' * 1000}k{number} = 1\n" for number in range(30))]
    began = time.monotonic()
    assert wrong(here, "".join(lines))
    assert time.monotonic() - began < 60


def test_what_is_no_file(here: Path) -> None:
    file = here / "kmi.toml"
    for make, says in (
        (lambda: os.mkfifo(file), "not a regular file"), (file.mkdir, "a folder where a file is expected"),
        (lambda: file.symlink_to("kmi.toml"), "Too many levels"), (lambda: file.symlink_to("gone"), "No such file"),
        (lambda: file.symlink_to("/dev/zero"), "not a regular file"),
    ):  # fmt: skip
        make()
        with pytest.raises(FaultsError, match=says):
            load(here, {}, {})
        file.rmdir() if file.is_dir() else file.unlink()


def test_a_home_folder_that_nobody_has(here: Path) -> None:
    assert "is in no known home folder" in wrong(here, environ={"KMI_CACHE": "~no-such-user/x"})[0]


@hypothesis.settings(
    deadline=None, max_examples=150, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(st.integers(0, 200), st.integers(0, 6), st.binary(max_size=8))
def test_no_damage_ends_in_a_crash(here: Path, at: int, cut: int, put: bytes) -> None:
    text = b'registry = "a.example/x"\npatience = 3\n[mirrors]\n"https://a/" = ["https://b/"]\n'
    (here / "kmi.toml").write_bytes(text[:at] + put + text[at + cut :])
    try:
        load(here, {}, {})
    except FaultsError as error:
        assert all(where.startswith("kmi.toml:") for where, _ in error.faults)
