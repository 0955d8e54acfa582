"""Which archives of the host's apt serve a suite, and what the archive's signed indexes prove.

``apt-get indextargets`` is simulated: a program of that name fills the format it is given from recorded index targets,
as apt-get(8) says (its real answer depends on the host's own sources). gpgv and gpg are real.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kmi.bootstrap.debian import Release, releases, sources
from kmi.errors import HostError, VerificationError
from kmi.model.spec import PackageArchive
from tests.signing import Signer, signer

ARCHIVE = PackageArchive(kind="debian", suite="bookworm", keyring="/usr/share/keyrings/the.gpg", packages=())
MIRROR = "http://mirror.example.org/debian/"
SECURITY = "http://mirror.example.org/debian-security/"

APT_GET = """\
#!{python}
import json, re, sys
command, option, form, created = sys.argv[1:]
assert (command, option, created) == ("indextargets", "--format", "Created-By: Packages"), sys.argv
for row in json.load(open({rows!r})):
    if row["CREATED_BY"] == "Packages":
        print(re.sub(r"\\$\\(([A-Z_]+)\\)", lambda name: row.get(name[1], ""), form))
"""


def target(uri: str, release: str, codename: str, *, component: str = "main", origin: str = "Debian",
           label: str = "Debian", created: str = "Packages") -> dict[str, str]:  # fmt: skip
    return {"REPO_URI": uri, "RELEASE": release, "CODENAME": codename, "COMPONENT": component, "ORIGIN": origin,
            "LABEL": label, "CREATED_BY": created}  # fmt: skip


OWN = [
    target(MIRROR, "bookworm", "bookworm"),
    target(MIRROR, "bookworm-updates", "bookworm-updates"),
    target(SECURITY, "bookworm-security", "bookworm-security", label="Debian-Security"),
]
LINES = (
    f"deb [signed-by=/usr/share/keyrings/the.gpg] {SECURITY} bookworm-security main",
    f"deb [signed-by=/usr/share/keyrings/the.gpg] {MIRROR} bookworm main",
    f"deb [signed-by=/usr/share/keyrings/the.gpg] {MIRROR} bookworm-updates main",
)
FOREIGN = [
    target("https://apt.releases.example.com/", "bookworm", "bookworm", origin="Artifactory", label="Artifactory"),
    target("https://apt.example.com/pgdg/", "bookworm-pgdg", "bookworm-pgdg", origin="apt.example.com", label="PGDG"),
    target("https://download.example.com/linux/debian/", "bookworm", "bookworm", component="stable", origin="Docker"),
    target("https://nothing.example.com/apt/", "bookworm", "bookworm", origin="", label=""),
    target("https://like.example.com/apt/", "bookworm", "bookworm", origin="Debian Backports", label="Debian"),
]
OTHER_SUITES = [
    target(MIRROR, "trixie", "trixie"),
    target(MIRROR, "trixie-updates", "trixie-updates"),
    target(MIRROR, "sid", "sid"),
    target(MIRROR, "bookworm-backports", "bookworm-backports", label="Debian Backports"),
    target(MIRROR, "bookworm-proposed-updates", "bookworm-proposed-updates"),
]
OTHER_PARTS = [
    target(MIRROR, "bookworm", "bookworm", component="contrib"),
    target(MIRROR, "bookworm", "bookworm", component="non-free-firmware"),
    target("http://sources.example.org/debian/", "bookworm", "bookworm", created="Sources"),
    target("http://words.example.org/debian/", "bookworm", "bookworm", created="Translations"),
]


def served(rows: Sequence[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
           mirrors: tuple[tuple[str, str], ...] = ()) -> tuple[str, ...]:  # fmt: skip
    """The lines on a host whose apt knows ``rows``."""
    recorded, program = tmp_path / "rows.json", tmp_path / "apt-get"
    recorded.write_text(json.dumps(rows))
    program.write_text(APT_GET.format(python=sys.executable, rows=str(recorded)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return sources(ARCHIVE, mirrors)


def test_the_suite_its_updates_and_its_security(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert served(OWN, tmp_path, monkeypatch) == LINES


@pytest.mark.parametrize("others", [FOREIGN, OTHER_SUITES, OTHER_PARTS], ids=["origin", "suite", "part"])
def test_nothing_else_is_taken(others: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert served([*others, *OWN], tmp_path, monkeypatch) == LINES


@pytest.mark.parametrize("other", [*FOREIGN, *OTHER_SUITES, *OTHER_PARTS], ids=lambda row: row["REPO_URI"])
def test_without_the_archive_the_host_is_refused(
    other: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(HostError, match="no source for bookworm"):
        served([other], tmp_path, monkeypatch)


def test_a_host_without_indexes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match="no source for bookworm"):
        served([], tmp_path, monkeypatch)


@pytest.mark.parametrize("alias", ["stable", "oldstable"])
def test_an_alias_becomes_the_code_name(alias: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**row, "RELEASE": row["RELEASE"].replace("bookworm", alias)} for row in OWN]
    assert served(rows, tmp_path, monkeypatch) == LINES
    assert served([*rows, *OWN], tmp_path, monkeypatch) == LINES, "the same archive twice"


def test_a_mirror_of_the_settings_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = served(OWN, tmp_path, monkeypatch, ((MIRROR, "http://near.example.net/d/"),))
    assert lines == tuple(sorted(line.replace(MIRROR, "http://near.example.net/d/") for line in LINES))


RELEASE = """\
Origin: Debian
Label: Debian
Suite: oldstable
Codename: {suite}
Date: {date}
Components: main contrib
SHA256:
 {digest} 1234 main/binary-amd64/Packages.xz
"""
LISTS = "./var/lib/apt/lists/mirror.example.org_debian_dists"


def index(suite: str = "bookworm", date: str = "Sat, 06 Sep 2025 10:01:07 UTC") -> bytes:
    return RELEASE.format(suite=suite, date=date, digest="0" * 64).encode()


@dataclass(frozen=True, kw_only=True)
class Keys:
    """A signer with two keys in the keyring and one that is not in it."""

    signer: Signer
    keyring: str
    one: str
    two: str
    stranger: str


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    folder = tmp_path_factory.mktemp("keys")
    with signer(folder) as home:
        one, two, stranger = (home.key(name) for name in ("one", "two", "stranger"))
        keyring = folder / "archive-keyring.gpg"
        keyring.write_bytes(home.public(one, two, armour=False))
        yield Keys(signer=home, keyring=str(keyring), one=one, two=two, stranger=stranger)


def read(files: dict[str, bytes], keys: Keys, folder: Path) -> tuple[Release, ...]:
    root = folder / "root.tar"
    with tarfile.open(root, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return releases(root, keys.keyring, scratch=folder)


def test_a_signed_index_gives_its_name_digest_date_and_key(keys: Keys, tmp_path: Path) -> None:
    signed = keys.signer.clear(keys.one, index())
    (release,) = read({"./etc/hostname": b"x\n", f"{LISTS}_bookworm_InRelease": signed}, keys, tmp_path)
    assert release.name == "mirror.example.org_debian_dists_bookworm_InRelease"
    assert (release.digest.algorithm, release.digest.hex) == ("sha256", hashlib.sha256(signed).hexdigest())
    assert release.date == datetime(2025, 9, 6, 10, 1, 7, tzinfo=UTC)
    assert release.fingerprints == (keys.one,)


def test_every_index_is_read_and_in_order(keys: Keys, tmp_path: Path) -> None:
    late = keys.signer.clear(keys.two, index("bookworm-updates", "Sun, 07 Sep 2025 00:30:00 +0200"))
    files = {
        f"{LISTS}_bookworm-updates_InRelease": late,
        f"{LISTS}_bookworm_main_binary-amd64_Packages": b"Package: x\n",
        f"{LISTS}_bookworm_InRelease": keys.signer.clear(keys.one, index()),
        "./home/nobody/of_no_interest_InRelease": b"not signed",
    }
    found = read(files, keys, tmp_path)
    assert [(release.name.split("_")[3], release.fingerprints) for release in found] == [
        ("bookworm-updates", (keys.two,)), ("bookworm", (keys.one,)),
    ]  # fmt: skip
    assert found[0].date == datetime(2025, 9, 6, 22, 30, tzinfo=UTC)


def test_two_signatures_give_two_keys(keys: Keys, tmp_path: Path) -> None:
    signed = keys.signer.clear(keys.one, index(), "--local-user", keys.two)
    (release,) = read({f"{LISTS}_bookworm_InRelease": signed}, keys, tmp_path)
    assert release.fingerprints == tuple(sorted((keys.one, keys.two)))


def test_a_key_that_is_not_in_the_keyring_adds_nothing(keys: Keys, tmp_path: Path) -> None:
    """Debian's archive signs with its next key too, before it is in every keyring."""
    signed = keys.signer.clear(keys.one, index(), "--local-user", keys.stranger)
    (release,) = read({f"{LISTS}_bookworm_InRelease": signed}, keys, tmp_path)
    assert release.fingerprints == (keys.one,)


def test_a_changed_index_is_refused(keys: Keys, tmp_path: Path) -> None:
    signed = keys.signer.clear(keys.one, index()).replace(b"1234 main", b"1235 main")
    with pytest.raises(VerificationError, match="not signed by its keyring"):
        read({f"{LISTS}_bookworm_InRelease": signed}, keys, tmp_path)


def test_one_changed_index_among_good_ones_is_refused(keys: Keys, tmp_path: Path) -> None:
    signed = keys.signer.clear(keys.one, index())
    files = {
        f"{LISTS}_bookworm_InRelease": signed,
        f"{LISTS}_x_InRelease": signed.replace(b"Codename: b", b"Codename: B"),
    }
    with pytest.raises(VerificationError):
        read(files, keys, tmp_path)


def test_an_index_of_another_key_is_refused(keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="not signed by its keyring"):
        read({f"{LISTS}_bookworm_InRelease": keys.signer.clear(keys.stranger, index())}, keys, tmp_path)


def test_an_unsigned_index_is_refused(keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="not signed by its keyring"):
        read({f"{LISTS}_bookworm_InRelease": index()}, keys, tmp_path)


def test_a_root_without_an_index_is_refused(keys: Keys, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="no signed index"):
        read({f"{LISTS}_bookworm_main_binary-amd64_Packages": b"Package: x\n"}, keys, tmp_path)
