"""Every value that a manifest may hold, found by walking its schema, against text that means harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import manifests
from tests.manifests import FULL, Place, faults, line_of, places, put, written

HOSTILE = {
    "newline": "a\nb",
    "newline at the end": "linux\n",
    "NUL": "a\0b",
    "escape": "\x1b[2J",
    "C1 control": "a\x9bb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "bidi override": "a\u202eb",
    "bidi isolate": "a\u2066b",
    "zero width": "a\u200bb",
    "surrogate": "a\ud800b",
    "leading dash": "-rf",
    "long": "x" * 100_000,
    "empty": "",
    "space around": " a ",
}
SEVERAL_LINES = {("files", 0, "content"), ("run", 0)}
PLACES = list(places())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return manifests.folder(tmp_path)


def legitimate(node: dict[str, Any], case: str) -> bool:
    """Whether the schema itself says that the value may be so."""
    if node.get("x-lines") != "several":
        return False
    file = "minLength" not in node
    return case in ("newline", "newline at the end", "space around") or (file and case in ("leading dash", "empty"))


def test_the_schema_says_which_texts_have_several_lines() -> None:
    assert {place for place, node in PLACES if node.get("x-lines")} == SEVERAL_LINES
    assert len(PLACES) > 60, "the walk does not find the values"


def test_the_manifest_that_says_everything_is_good(folder: Path) -> None:
    assert faults(folder, written(FULL)) == []


@pytest.mark.parametrize(("place", "node"), PLACES, ids=[".".join(map(str, place)) for place, _ in PLACES])
def test_no_value_takes_hostile_text(folder: Path, place: Place, node: dict[str, Any]) -> None:
    line = f"distros/acme.yaml:{line_of(FULL, place)}"
    for case, value in HOSTILE.items():
        told = [message for where, message in faults(folder, written(put(FULL, place, value))) if where == line]
        assert legitimate(node, case) != bool(told), f"{case}: {told}"
        assert all(message.isprintable() and len(message) < 1000 for message in told), told


@pytest.mark.parametrize(("place", "node"), PLACES, ids=[".".join(map(str, place)) for place, _ in PLACES])
def test_no_value_takes_another_shape(folder: Path, place: Place, node: dict[str, Any]) -> None:
    line = f"distros/acme.yaml:{line_of(FULL, place)}"
    for value in ({}, {"a": "b"}, [], ["a"], [[["a"]]]):
        told = faults(folder, written(put(FULL, place, value)))
        assert any(where == line for where, _ in told), value


SECTIONS = sorted({place[:-1] for place, _ in PLACES if isinstance(place[-1], str)}, key=str)


@pytest.mark.parametrize("section", SECTIONS, ids=[".".join(map(str, section)) or "root" for section in SECTIONS])
def test_no_section_takes_a_hostile_key(folder: Path, section: Place) -> None:
    line = f"distros/acme.yaml:{line_of(FULL, (*section, 'zzz'))}"
    for key in ("distroo", "a\ndistros/other.yaml:1: a lie", "\0", "\u202e", "", "<<", "x" * 1000):
        told = [m for where, m in faults(folder, written(put(FULL, (*section, key), "x"))) if where == line]
        assert told, key
        assert all(message.isprintable() and len(message) < 1000 for message in told), told


@pytest.mark.parametrize(
    "url",
    [
        "https://user@acme.example/x", "https://user:word@acme.example/x", "https://acme.example/x#part",
        "https://acme.example/a b", "https://acmé.example/x", "https://acme.example/é", "https://acme.example/../x",
        "https://acme.example/a/./x", "https://acme.example/%2e%2e/x", "https://acme.example/a%2fb",
        "https://acme.example/a%00b", "https://acme.example/a%0ab", "https://acme.example/%zz", "https://acme.example:0/x",
        "https://acme.example:99999/x", "https://acme.example:/x", "https://acme.example:08/x", "ftp://acme.example/x",
        "file:///etc/passwd", "HTTPS://acme.example/x", "https:/acme.example/x", "//acme.example/x", "https:///x",
        "https://{version}.example/x", "https://acme.example\\@evil.example/x", "https://acme.example", "https://-a/x",
        "https://a..b/x", "https://" + "a." * 130 + "b/x", "javascript:alert(1)", "https://acme.example/<x>",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "place", [("documentation",), ("licence", "url"), ("cloud_image", "url"), ("cloud_image", "trust", "key_url")]
)
def test_a_url_is_plain(folder: Path, place: Place, url: str) -> None:
    told = faults(folder, written(put(FULL, place, url)))
    assert [where for where, _ in told] == [f"distros/acme.yaml:{line_of(FULL, place)}"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "https://xn--acm-dma.example/x?a=b&c=%20", "https://acme.example/a+b~(1)/[x]/"]
)
def test_a_plain_url_is_taken(folder: Path, url: str) -> None:
    assert faults(folder, written(put(FULL, ("documentation",), url))) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("packages", 0), "openssh-server-"), (("packages", 0), "./x.deb"), (("packages", 0), "a/../../x.deb"),
        (("packages", 0), "a b"), (("packages", 0), "a;b"), (("packages", 0), "{build}"), (("packages", 0), "a*"),
        (("files", 0, "path"), "/etc/../x"), (("files", 0, "path"), "/"), (("files", 0, "path"), "/etc/"),
        (("files", 0, "path"), "//etc/x"), (("files", 0, "path"), "/" + "x" * 256), (("files", 0, "mode"), "4755"),
        (("licence", "file"), "files/../x"), (("licence", "file"), "files/.x"), (("licence", "file"), "/etc/passwd"),
        (("user",), "Root"), (("user",), "0"), (("user",), "a" * 33), (("user",), "a.b"), (("distro",), "a..b"),
        (("instancetype",), "u1_small"), (("virtual_size",), "0GiB"), (("virtual_size",), "999999TiB"),
        (("virtual_size",), "20 gib"), (("virtual_size",), "1e3GiB"), (("room",), "20GiB"), (("max_age",), "1_0"),
        (("max_age",), "0"), (("max_age",), "4000"), (("releases", 1, "end_of_life"), "0"),
        (("releases", 1, "end_of_life"), "2026-02-30"), (("releases", 1, "end_of_life"), "1777507200"),
        (("releases", 1, "end_of_life"), "2026-04-30T00:00:00"), (("releases", 1, "default"), "yes"),
        (("releases", 1, "default"), "1"), (("releases", 1, "architectures"), ["amd64", "amd64"]),
        (("firmware", "amd64"), ["bios", "bios"]), (("cloud_image", "trust", "fingerprints"), ["A" * 40, "A" * 40]),
        (("releases", 1, "version"), "2"), (("releases", 1, "codename"), "2"), (("releases", 1, "successor"), "9"),
        (("cloud_image", "per_architecture", "amd64", "url"), "ftp://x/"), (("enable", 0), "a b"),
        (("bootstrap", "suite"), "../x"), (("bootstrap", "keyring"), "keys/acme.gpg"), (("run", 0), "\n\n"),
    ],
)  # fmt: skip
def test_a_value_is_what_its_use_can_bear(folder: Path, place: Place, value: object) -> None:
    told = faults(folder, written(put(FULL, place, value)))
    assert told
    assert any(manifests_path(place) in message for _, message in told), told


def manifests_path(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def test_a_release_without_the_codename_that_others_use(folder: Path) -> None:
    text = written(FULL).replace('  "codename": "slow"\n', "")
    (told,) = faults(folder, text)
    assert told[1].startswith("releases[1]: a codename is expected, because cloud_image uses {codename}")


def test_a_second_file_for_one_guest_path(folder: Path) -> None:
    (told,) = faults(folder, written(put(FULL, ("files", 1), FULL["files"][0])))
    assert told[1] == "files[1].path: /etc/motd is written twice"


def test_all_kinds_of_errors_are_told_at_once(folder: Path) -> None:
    """What the schema refuses hides neither what the rules refuse nor a key given twice."""
    bad: dict[str, Any] = FULL
    for place, value in {
        ("usr",): "x",
        ("licence", "file"): "files/none.txt",
        ("documentation",): "ftp://acme.example/",
        ("cloud_image", "url"): "https://acme.example/{cpu}",
        ("cloud_image", "trust", "fingerprints"): [],
        ("packages", 0): "-rf",
        ("releases", 1, "default"): "true",
        ("releases", 1, "tier"): "gold",
        ("releases", 1, "version"): "2",
    }.items():
        bad = put(bad, place, value)
    told = faults(folder, written(bad) + "title: again\n")
    assert told == sorted(told, key=lambda fault: int(fault[0].rpartition(":")[2]))
    for part in (
        "usr: unknown key; did you mean user?", "licence.file: files/none.txt cannot be read", "documentation: an http",
        "cloud_image.url: unknown placeholder {cpu}; known are", "packages[0]: a package's name is expected, not '-rf'",
        "releases[1].default: exactly one release", "releases[1].tier: 'gold' is not one of planned",
        "releases[1].version: release 2 is listed twice", "title: given twice, first in line 2",
    ):  # fmt: skip
        assert any(message.startswith(part) for _, message in told), (part, told)
