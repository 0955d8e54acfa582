"""Manifests, good and bad: every fault at once, each with its line, and never anything but a usage error."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from kmi.catalogue import load, schema
from kmi.catalogue.document import SIZE_LIMIT, read
from kmi.errors import UsageError
from kmi.model.platform import Arch, Firmware
from kmi.model.spec import BuildLookup, ImageSpec, Tier

DISTROS = Path(__file__).parents[3] / "distros"
GOOD = """\
distro: acme
title: Acme Linux
documentation: https://acme.example/
licence: {name: MIT, url: "https://acme.example/l", file: files/acme.txt}
user: acme
init: cloud-init
agent: {package: qemu-guest-agent, service: qemu-guest-agent}
instancetype: u1.small
preference: linux
firmware:
  amd64: [bios]
  arm64: [uefi]
cloud_image:
  url: https://acme.example/{version}/{codename}-{arch}.qcow2
  checksums: https://acme.example/{version}/SUMS
  algorithm: sha256
  format: qcow2
  trust: {kind: tls-only}
packages: [git, vim]
releases:
  - version: 24.10
    codename: quick
    tier: proposed
    default: true
    architectures: [amd64, arm64]
  - version: 24.04
    tier: preview
    architectures: [amd64]
    end_of_life: 2026-04-30
    codename: slow
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "distros" / "files").mkdir(parents=True)
    (tmp_path / "distros" / "files" / "acme.txt").write_text("Do as you like.\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "distros"


def specs(folder: Path, text: str | bytes, name: str = "acme.yaml") -> tuple[ImageSpec, ...]:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return load(folder).specs


def faults(folder: Path, text: str | bytes, name: str = "acme.yaml") -> list[str]:
    """The lines of the error, each ``file:line: path: message``."""
    with pytest.raises(UsageError) as caught:
        specs(folder, text, name)
    assert caught.value.exit_code == 2
    lines = [line.strip() for line in caught.value.what.splitlines()[1:]]
    assert str(caught.value.where) == ":".join(lines[0].split(":")[:2])
    return lines


def test_a_manifest_becomes_an_image_for_each_release_and_architecture(folder: Path) -> None:
    images = specs(folder, GOOD)
    assert [str(image.id) for image in images] == ["acme-24.10-amd64", "acme-24.10-arm64", "acme-24.04-amd64"]
    first, second, third = images
    assert first.cloud_image and first.cloud_image.url == "https://acme.example/24.10/quick-amd64.qcow2"
    assert (first.title, first.tier, first.default) == ("Acme Linux 24.10", Tier.PROPOSED, True)
    assert (first.firmware, second.firmware) == ((Firmware.BIOS,), (Firmware.UEFI,))
    assert (first.recipe.upgrade, third.recipe.upgrade) == ("all", "none"), "up to date from proposed up"
    assert first.recipe.packages == ("git", "vim", "qemu-guest-agent")
    assert first.recipe.enable == ("qemu-guest-agent",)
    assert first.licence.text == "Do as you like.\n"
    assert first.virtual_size == 20 << 30
    assert (third.end_of_life, third.default) == (date(2026, 4, 30), False)
    assert (first.where, third.where) == ("distros/acme.yaml:21", "distros/acme.yaml:26")


def test_the_shipped_catalogue_is_good() -> None:
    images = {str(image.id): image for image in load(DISTROS).specs}
    debian, arm = images["debian-12-amd64"], images["debian-12-arm64"]
    assert debian.default
    assert debian.recipe.packages == ("git", "vim", "tmux", "net-tools", "screenfetch", "qemu-guest-agent")
    assert debian.cloud_image and debian.cloud_image.trust.kind == "tls-only"
    assert debian.archive and debian.archive.suite == "bookworm"
    assert {"linux-image-cloud-amd64", "grub-cloud-amd64", "cloud-init"} <= set(debian.archive.packages)
    assert arm.archive and {"linux-image-cloud-arm64", "shim-signed"} <= set(arm.archive.packages)
    assert (debian.firmware, arm.firmware) == ((Firmware.BIOS, Firmware.UEFI), (Firmware.UEFI,))


def test_the_committed_schema_is_current() -> None:
    assert (DISTROS / "manifest.schema.json").read_text() == schema.json_schema_text(), (
        "write schema.json_schema_text() into it"
    )


class _Editor(yaml.SafeLoader):
    """YAML as an editor's schema checker reads it: dates stay text."""


_Editor.yaml_implicit_resolvers = {
    key: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for key, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def test_an_editor_agrees_with_the_schema() -> None:
    validator = Draft202012Validator(json.loads((DISTROS / "manifest.schema.json").read_text()))
    Draft202012Validator.check_schema(validator.schema)
    for path in DISTROS.glob("*.yaml"):
        text = path.read_text()
        assert text.startswith("# yaml-language-server: $schema=./manifest.schema.json\n")
        assert list(validator.iter_errors(yaml.load(text, Loader=_Editor))) == []
    assert list(validator.iter_errors(yaml.load(GOOD.replace("user:", "usr:"), Loader=_Editor)))


def test_every_fault_is_told_at_once_with_its_line(folder: Path) -> None:
    text = (
        GOOD.replace("tier: proposed", "tier: prposed")
        .replace("algorithm: sha256", "algoritm: sha256")
        .replace("{codename}-{arch}", "{codename}-{cpu}")
        .replace("user: acme\n", "")
        .replace("init: cloud-init", "init: cloudinit\ninit: none")
    )
    found = faults(folder, text)
    assert found == [
        "distros/acme.yaml:1: user: missing",
        "distros/acme.yaml:6: init: given twice, first in line 5",
        "distros/acme.yaml:13: cloud_image.algorithm: missing",
        found[3],
        "distros/acme.yaml:16: cloud_image.algoritm: unknown key; did you mean algorithm?",
        "distros/acme.yaml:23: releases[0].tier: 'prposed' is not one of planned, preview, proposed, stable; "
        "did you mean proposed?",
    ]
    assert found[3].startswith("distros/acme.yaml:14: cloud_image.url: unknown placeholder {cpu}; known are {version}")


def test_the_faults_of_every_file_are_told(folder: Path) -> None:
    (folder / "other.yaml").write_text("distro: other\n\tx: y\n")
    found = faults(folder, GOOD.replace("distro: acme", "distro: emca"))
    assert found[0] == "distros/acme.yaml:1: distro: the file is called acme.yaml, so 'acme' is expected"
    assert found[1].startswith("distros/other.yaml:2: not YAML: ")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("default: true", "default: false", ":20: releases: exactly one release is the default, not none"),
        (
            "tier: preview",
            "tier: preview\n    default: true",
            ":28: releases[1].default: exactly one release is the default",
        ),
        ("version: 24.04", "version: 24.10", ":26: releases[1].version: release 24.10 is listed twice"),
        ("  arm64: [uefi]\n", "", ":10: firmware: nothing for arm64"),
        ("amd64, arm64]", "amd64, sparc]", ":25: releases[0].architectures[1]: 'sparc' is not one of amd64, arm64"),
        ("[bios]", "[]", ":11: firmware.amd64: "),
        ("files/acme.txt", "files/none.txt", ":4: licence.file: files/none.txt cannot be read"),
        ("files/acme.txt", "files/../../etc/passwd", ":4: licence.file: "),
        ("files/acme.txt", "/etc/passwd", ":4: licence.file: "),
        ("package: qemu-guest-agent, ", "", ":7: agent: an installed agent has a package and a service"),
        ("agent: {", "agent: {state: absent, ", ":7: agent.state: an agent that is absent has no package"),
        ("tier: preview", "tier: preview\n    reason: no disk yet", ":28: releases[1].reason: only a planned release"),
        ("tier: preview", "tier: preview\n    successor: 9.9", ":28: releases[1].successor: '9.9' is not a release"),
        (
            "tier: preview",
            "tier: preview\n    waivers: [{criterion: ssh, reason: x, until: 2027-01-01}]",
            ":28: releases[1].waivers[0].criterion: cloud-init or trust or upstream-catalog is expected: no other",
        ),
        (
            "tier: preview",
            "tier: preview\n    waivers:\n"
            "    - {criterion: trust, reason: x, until: 2027-01-01}\n"
            "    - {criterion: trust, reason: y, until: 2027-01-01}",
            ":30: releases[1].waivers[1].criterion: trust is waived twice",
        ),
        ("tier: proposed", "tier: stable", ":23: releases[0].tier: stable and tls-only need a waiver for trust"),
        (
            "tier: proposed",
            "tier: stable\n    waivers: [{criterion: cloud-init, reason: x, until: 2027-01-01}]",
            ":23: releases[0].tier: stable and tls-only need a waiver for trust",
        ),
        (
            "tier: preview",
            "tier: preview\n    firmware: {arm64: [uefi]}",
            ":28: releases[1].firmware: nothing for amd64",
        ),
        ("packages:", "redistribution: restricted\npackages:", ":19: redistribution: restricted goes together with"),
        ("{arch}.qcow2", "{arch}-{build}.qcow2", ":14: cloud_image.url: nothing tells the {build}"),
        ("/SUMS", "/{build}/SUMS", ":15: cloud_image.checksums: nothing tells the {build}"),
        (
            "algorithm:",
            "build: {kind: listing, name: 'v{build}'}\n  algorithm:",
            ":16: cloud_image.build.url: listing needs",
        ),
        ("algorithm:", "build: {kind: same-digest, name: x}\n  algorithm:", ":16: cloud_image.build.name: {build} is"),
        ("algorithm:", "kind: coreos-stream\n  algorithm:", ":13: cloud_image.item: coreos-stream needs what to look"),
        ("kind: tls-only", "kind: minisign", ":18: cloud_image.trust: minisign needs the public key"),
        (
            "kind: tls-only",
            f"kind: openpgp, over: image, fingerprints: [{'A' * 40}]",
            ":18: cloud_image.trust: a signature",
        ),
        ("packages:", "customize_reason: why\npackages:", ":19: customize_reason: only a disk that is taken as it is"),
        ("packages:", "customize: none\npackages:", ":19: customize: none needs a customize_reason"),
        ("packages:", "customize: none\npackages:", ":7: agent.state: nothing is installed with customize: none"),
        ("packages:", "customize: none\npackages:", ":20: packages: nothing is done to the disk"),
        ("kind: tls-only", "kind: openpgp", ":18: cloud_image.trust: openpgp needs the full fingerprints"),
        ("kind: tls-only", f"kind: tls-only, fingerprints: [{'A' * 40}]", ":18: cloud_image.trust.fingerprints: "),
        ("kind: tls-only", "kind: openpgp, fingerprints: [DEADBEEF]", ":18: cloud_image.trust.fingerprints[0]: "),
        ("checksums: https:", "checksums: http:", ":15: cloud_image.checksums: tls-only needs https"),
        ("checksums: https://acme.example/", "checksums: file:///", ":15: cloud_image.checksums: "),
        ("checksums: https://acme.example/", "checksums: https://a b/", ":15: cloud_image.checksums: "),
        ("{version}/SUMS", "{version!r}/SUMS", ":15: cloud_image.checksums: unknown placeholder"),
        ("{version}/SUMS", "{version.__class__}/SUMS", ":15: cloud_image.checksums: unknown placeholder"),
        ("{version}/SUMS", "{version/SUMS", ":15: cloud_image.checksums: braces that do not match"),
        ("{version}/SUMS", "{}/SUMS", ":15: cloud_image.checksums: unknown placeholder {}"),
        ("[git, vim]", "[git, -rf]", ":19: packages[1]: "),
        ("[git, vim]", '[git, "vim; reboot"]', ":19: packages[1]: "),
        ("[git, vim]", "git", ":19: packages: "),
        ("user: acme", "user: -acme", ":5: user: "),
        ("user: acme", 'user: "ac\\nme"', ":5: user: "),
        ("user: acme", 'user: "ac\\0me"', ":5: user: "),
        ("title: Acme Linux", 'title: "Acme\\u001b[2J"', ":2: title: one line without control characters"),
        ("title: Acme Linux", "title:", ":2: title: "),
        ("title: Acme Linux", "title: [a]", ":2: title: "),
        ("title: Acme Linux", "title: !!python/object:os.system x", ":2: tags are not used here"),
        ("title: Acme Linux", "title: &a x", ":2: anchors and aliases"),
        ("title: Acme Linux", "title: *a", ":2: anchors and aliases"),
        ("end_of_life: 2026-04-30", "end_of_life: soon", ":29: releases[1].end_of_life: "),
        ("packages:", "virtual_size: 20\npackages:", ":19: virtual_size: a size such as 20GiB is expected"),
        ("packages:", "files: [{path: etc/x, content: x}]\npackages:", ":19: files[0].path: "),
        ("packages:", "files: [{path: /x, content: x, mode: 644}]\npackages:", ":19: files[0].mode: permission bits"),
        ("packages:", "? [a]\n: b\npackages:", ":19: a key is text"),
        ("packages:", "<<: {a: b}\npackages:", ":19: <<: unknown key"),
        ("cloud_image:", "cloud_imag:", ":13: cloud_imag: unknown key; did you mean cloud_image?"),
    ],
)
def test_a_fault_is_told_where_it_is(folder: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    assert any(line.startswith(f"distros/acme.yaml{told}") for line in faults(folder, GOOD.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ":1: empty"),
        ("# nothing\n", ":1: empty"),
        ("just words\n", ":1: manifest: "),
        ("- a\n- b\n", ":1: manifest: "),
        (GOOD + "---\n" + GOOD, ":31: a second document"),
        (b"distro: acme\ntitle: \xff\xfe\n", ":2: not UTF-8"),
        ("title: a\x00b\n", ":1: a character that cannot be seen: U+0000"),
        ("a: [" * 40, ":1: "),
        ("[" * 5000, ":1: "),
        ("{a: " * 5000, ":1: "),
        ("x" * (SIZE_LIMIT + 1), ":1: "),
        ("a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]\n", ":1: anchors and aliases"),
    ],
)
def test_what_is_no_manifest_at_all(folder: Path, text: str | bytes, told: str) -> None:
    assert faults(folder, text)[0].startswith(f"distros/acme.yaml{told}")


def test_numbers_and_words_stay_as_they_are_written() -> None:
    value = read(b"a: 24.10\nb: no\nc: 0644\nd: 1e3\ne: null\nf: 12:30\n").value
    assert value == {"a": "24.10", "b": "no", "c": "0644", "d": "1e3", "e": "null", "f": "12:30"}


def test_what_nobody_signs_is_stable_with_a_dated_waiver(folder: Path) -> None:
    waiver = "tier: stable\n    waivers: [{criterion: trust, reason: nothing is signed, until: 2027-01-01}]"
    image = specs(folder, GOOD.replace("tier: proposed", waiver))[0]
    assert image.tier is Tier.STABLE
    assert [(waiver.criterion, waiver.until) for waiver in image.waivers] == [("trust", date(2027, 1, 1))]


def test_what_is_signed_is_stable_without(folder: Path) -> None:
    signed = f"trust: {{kind: openpgp, fingerprints: [{'A' * 40}], key_url: https://a.example/k}}"
    text = GOOD.replace("tier: proposed", f"tier: stable\n    {signed}")
    assert specs(folder, text)[0].tier is Tier.STABLE


def test_a_planned_release_needs_no_source(folder: Path) -> None:
    start, end = GOOD.index("cloud_image:"), GOOD.index("packages:")
    without = GOOD[:start] + GOOD[end:]
    told = faults(folder, without)
    assert (
        told[0]
        == "distros/acme.yaml:17: releases[0].tier: a proposed release needs a cloud_image, a bootstrap or an own_disk"
    )
    planned = without.replace("proposed", "planned").replace("preview", "planned")
    assert {image.tier for image in specs(folder, planned)} == {Tier.PLANNED}


def test_preferences_may_differ_by_architecture(folder: Path) -> None:
    images = specs(folder, GOOD.replace("preference: linux", "preference: linux\npreferences: {arm64: linux.efi}"))
    assert {image.id.arch: image.preference for image in images} == {Arch.AMD64: "linux", Arch.ARM64: "linux.efi"}


def test_a_release_may_differ_from_the_rest(folder: Path) -> None:
    text = GOOD.replace(
        "    tier: preview\n",
        "    tier: preview\n    user: other\n    preference: acme.old\n    firmware: {amd64: [uefi]}\n"
        "    packages: [nano]\n"
        f"    trust: {{kind: openpgp, fingerprints: [{'B' * 40}], key_url: 'https://acme.example/{{version}}.asc'}}\n",
    ).replace("packages: [git, vim]", "arch_names: {amd64: x86_64}\npackages: [git, vim]")
    new, _, old = specs(folder, text)
    assert (old.user, old.preference, old.firmware) == ("other", "acme.old", (Firmware.UEFI,))
    assert old.recipe and old.recipe.packages == ("nano", "qemu-guest-agent")
    assert old.cloud_image and old.cloud_image.trust.key_url == "https://acme.example/24.04.asc"
    assert old.cloud_image.url == "https://acme.example/24.04/slow-x86_64.qcow2"
    assert (new.user, new.preference, new.firmware) == ("acme", "linux", (Firmware.BIOS,))
    assert new.cloud_image and new.cloud_image.trust.kind == "tls-only"


def test_the_build_stays_open_and_an_architecture_may_have_its_own_place(folder: Path) -> None:
    text = GOOD.replace(
        "  algorithm:",
        "  build: {kind: listing, url: 'https://acme.example/{version}/', name: 'v{build}/'}\n"
        "  per_architecture: {arm64: {url: 'https://acme.example/ports/{build}/{arch}.img'}}\n  algorithm:",
    )
    amd64, arm64, _ = specs(folder, text)
    assert arm64.cloud_image and arm64.cloud_image.url == "https://acme.example/ports/{build}/arm64.img"
    assert amd64.cloud_image and amd64.cloud_image.url == "https://acme.example/24.10/quick-amd64.qcow2"
    assert amd64.cloud_image.build == BuildLookup(kind="listing", url="https://acme.example/24.10/", name="v{build}/")


def test_files_for_the_guest(folder: Path) -> None:
    file = 'files: [{path: /etc/motd, content: "hello\\nthere\\n", mode: "0600"}]\npackages:'
    (written,) = specs(folder, GOOD.replace("packages:", file))[0].recipe.files
    assert (written.path, written.content, written.mode) == ("/etc/motd", "hello\nthere\n", 0o600)


def test_an_empty_folder_and_a_missing_one(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match="no manifests"):
            load(directory)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(GOOD)), st.integers(0, 12), st.text(max_size=6))
def test_no_text_ends_in_a_crash(folder: Path, at: int, cut: int, put: str) -> None:
    try:
        specs(folder, (GOOD[:at] + put + GOOD[at + cut :]).encode("utf-8", "surrogatepass"))
    except UsageError as error:
        assert error.exit_code == 2
