"""Locks as files: strict to read, deterministic to write, and of no use where they do not fit the manifest."""

from __future__ import annotations

import difflib
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmi.catalogue import load_files, lockfile, locks
from kmi.catalogue.lockfile import Entry
from kmi.errors import FaultsError, UsageError, VerificationError
from kmi.model.digest import Digest
from kmi.model.platform import Arch
from kmi.model.spec import CloudImage, ImageId, Packing, Trust
from kmi.model.stages import Evidence, Locked

DISTROS = Path(__file__).parents[3] / "distros"
FINGERPRINT = "D2EB44626FDDC30B513D5BB71A5D6C4C7DB87C81"
KEY = "RWS7VHONiB4BK42Wgv6DJUQGLu9bbdvSuyZwvrbtHFCyEHX7wwGi4P3g"
BASE = "https://images.example/noble"
IMAGE = CloudImage(
    url=f"{BASE}/release-{{build}}/disk.img",
    checksums=f"{BASE}/release-{{build}}/SHA256SUMS",
    algorithm="sha256",
    format="qcow2",
    trust=Trust(kind="openpgp", fingerprints=(FINGERPRINT,), key_url="https://keys.example/key.asc"),
)


def image_id(arch: Arch = Arch.AMD64) -> ImageId:
    return ImageId(distro="noble", release="24.04", arch=arch)


def locked(arch: Arch = Arch.AMD64, **changes: Any) -> Locked:
    values: dict[str, Any] = {
        "id": image_id(arch),
        "url": f"{BASE}/release-20260725/disk.img",
        "digest": Digest(algorithm="sha256", hex="ab" * 32),
        "size": 630_000_000,
        "build": "20260725",
        "released_at": datetime(2026, 7, 25, 4, 16, 54, tzinfo=UTC),
        "evidence": Evidence(kind="openpgp", value=FINGERPRINT),
        "checksums": f"{BASE}/release-20260725/SHA256SUMS",
        "format": "qcow2",
    }
    return Locked(**(values | changes))


def entry(arch: Arch = Arch.AMD64, image: CloudImage = IMAGE, **changes: Any) -> Entry:
    return Entry(locked=locked(arch, **changes), manifest=locks.section(image))


def both(**changes: Any) -> dict[ImageId, Entry]:
    return {image_id(arch): entry(arch, **changes) for arch in (Arch.ARM64, Arch.AMD64)}


def text(tmp_path: Path) -> str:
    return lockfile.path(tmp_path, "noble").read_text()


def test_what_is_written_is_read_again_with_its_lines(tmp_path: Path) -> None:
    full = both(
        content=Digest(algorithm="sha512", hex="0f" * 64),
        size=None,
        packing=Packing(compression="xz", archive="tar", member="disk.raw", digest_of="content"),
        signed=Trust(kind="minisign", over="image", key=KEY, signature="https://images.example/disk.minisig"),
    )
    assert lockfile.write(tmp_path, "noble", full) is True
    found = lockfile.read(tmp_path, "noble")
    assert {image: replace(one, where="") for image, one in found.items()} == full
    lines = text(tmp_path).splitlines()
    for image, one in found.items():
        name, _, line = one.where.rpartition(":")
        assert name.endswith("noble.lock.json")
        assert f'"{image.arch}": {{' in lines[int(line) - 1]


def test_the_same_entries_give_the_same_bytes_and_are_not_written_twice(tmp_path: Path) -> None:
    lockfile.write(tmp_path, "noble", both())
    before = lockfile.path(tmp_path, "noble").stat()
    assert lockfile.write(tmp_path, "noble", dict(reversed(both().items()))) is False
    assert lockfile.path(tmp_path, "noble").stat() == before
    assert [path.name for path in tmp_path.iterdir()] == ["noble.lock.json"]


def test_a_change_shows_as_the_lines_that_changed(tmp_path: Path) -> None:
    old = lockfile.render("noble", both())
    new = lockfile.render("noble", both() | {image_id(): entry(build="20260801")})
    changed = [line for line in difflib.ndiff(old.splitlines(), new.splitlines()) if line[:2] in ("- ", "+ ")]
    assert [line.split('"')[1] for line in changed] == ["build", "build", "seal", "seal"]
    assert old.endswith("}\n")


def test_no_lock_is_no_fault_and_nothing_is_made_of_nothing(tmp_path: Path) -> None:
    assert lockfile.read(tmp_path, "noble") == {}
    assert lockfile.write(tmp_path, "noble", {}) is False
    assert list(tmp_path.iterdir()) == []


def test_what_an_index_gives_and_no_lock_can_hold_is_refused_before_it_is_written(tmp_path: Path) -> None:
    lockfile.write(tmp_path, "noble", both())
    before = text(tmp_path)
    with pytest.raises(VerificationError, match="no lock can hold"):
        lockfile.write(tmp_path, "noble", {image_id(): entry(url="https://user@images.example/../disk.img")})
    assert text(tmp_path) == before


def _entry(value: dict[str, Any], **changes: Any) -> None:
    value["images"]["24.04"]["amd64"].update(changes)


WRONG: dict[str, tuple[Any, str]] = {
    "another lock's version": (lambda v: v.update(lock=2), "lock"),
    "another distro's": (lambda v: v.update(distro="jammy"), "distro"),
    "unknown key": (lambda v: v.update(more=1), "more"),
    "no images": (lambda v: v.pop("images"), ""),
    "images as a list": (lambda v: v.update(images=[]), "images"),
    "unknown architecture": (lambda v: v["images"]["24.04"].update(riscv64={}), "riscv64"),
    "unknown key of an entry": (lambda v: _entry(v, mirror="x"), "mirror"),
    "missing key of an entry": (lambda v: v["images"]["24.04"]["amd64"].pop("url"), "amd64"),
    "size as text": (lambda v: _entry(v, size="630000000"), "size"),
    "size as truth": (lambda v: _entry(v, size=True), "size"),
    "negative size": (lambda v: _entry(v, size=-1), "size"),
    "size of a thousand digits": (lambda v: _entry(v, size=10**1000), "size"),
    "size with a fraction": (lambda v: _entry(v, size=1.5), "size"),
    "no URL": (lambda v: _entry(v, url=None), "url"),
    "URL of a file": (lambda v: _entry(v, url="file:///etc/passwd"), "url"),
    "URL with a user": (lambda v: _entry(v, url="https://a@b.example/x"), "url"),
    "URL that climbs": (lambda v: _entry(v, url="https://b.example/%2e%2e/x"), "url"),
    "short digest": (lambda v: _entry(v, digest="sha256:" + "ab" * 31), "digest"),
    "upper-case digest": (lambda v: _entry(v, digest="sha256:" + "AB" * 32), "digest"),
    "bare digest": (lambda v: _entry(v, digest="ab" * 32), "digest"),
    "weak digest": (lambda v: _entry(v, digest="md5:" + "ab" * 16), "digest"),
    "no digest": (lambda v: _entry(v, digest=""), "digest"),
    "a day for a time": (lambda v: _entry(v, released_at="2026-07-25"), "released_at"),
    "an impossible time": (lambda v: _entry(v, released_at="2026-13-25T04:16:54Z"), "released_at"),
    "unknown evidence": (lambda v: _entry(v, evidence={"kind": "user", "value": ""}), "kind"),
    "evidence as text": (lambda v: _entry(v, evidence="openpgp"), "evidence"),
    "build with a line break": (lambda v: _entry(v, build="1\n2"), "build"),
    "unknown format": (lambda v: _entry(v, format="vhd"), "format"),
    "another build, by hand": (lambda v: _entry(v, build="20260101"), "seal"),
    "another digest, by hand": (lambda v: _entry(v, digest="sha256:" + "cd" * 32), "seal"),
    "moved to another architecture": (
        lambda v: v["images"]["24.04"].update(amd64=v["images"]["24.04"]["arm64"]),
        "seal",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "told"), WRONG.values(), ids=WRONG)
def test_what_kmi_did_not_write_is_refused_with_its_line(tmp_path: Path, spoil: Any, told: str) -> None:
    lockfile.write(tmp_path, "noble", both())
    value = json.loads(text(tmp_path))
    spoil(value)
    lockfile.path(tmp_path, "noble").write_text(json.dumps(value, indent=2, sort_keys=True))
    with pytest.raises(UsageError) as caught:
        lockfile.read(tmp_path, "noble")
    assert caught.value.exit_code == 2
    assert "kmi lock noble" in str(caught.value.hint)
    _, _, line = str(caught.value.where).rpartition(":")
    assert told in text_line(tmp_path, int(line)) or told == ""


def text_line(tmp_path: Path, number: int) -> str:
    return text(tmp_path).splitlines()[number - 1]


BYTES = {
    "empty": b"",
    "cut": b'{"lock": 1, "distro": "noble", "images": {',
    "not JSON": b"lock: 1\ndistro: noble\nimages: {}\n",
    "a list": b"[]",
    "NaN": b'{"lock": NaN, "distro": "noble", "images": {}}',
    "a key twice": b'{"lock": 1, "distro": "noble", "images": {}, "images": {}}',
    "merge conflict": b"<<<<<<< ours\n{}\n=======\n{}\n>>>>>>> theirs\n",
    "not UTF-8": b'{"lock": "\xff"}',
    "byte order mark": b'\xef\xbb\xbf{"lock": 1, "distro": "noble", "images": {}}',
    "NUL": b'{"lock": 1, "distro": "noble\x00", "images": {}}',
    "right-to-left override": '{"lock": 1, "distro": "\u202enoble", "images": {}}'.encode(),
    "escaped control character": b'{"lock": 1, "distro": "noble\\u0000", "images": {}}',
    "lone surrogate": b'{"lock": 1, "distro": "\\ud800", "images": {}}',
    "brackets": b"[" * 100_000,
    "objects": b'{"images":' * 50_000,
    "a number of a million digits": b'{"lock": ' + b"9" * 1_000_000 + b"}",
    "huge": b" " * ((1 << 20) + 1),
    "random": bytes(range(256)) * 100,
}


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
def test_no_bytes_do_more_than_to_be_refused(tmp_path: Path, data: bytes) -> None:
    lockfile.path(tmp_path, "noble").write_bytes(data)
    with pytest.raises(FaultsError):
        lockfile.read(tmp_path, "noble")


def test_a_lock_is_a_regular_file(tmp_path: Path) -> None:
    file = lockfile.path(tmp_path, "noble")
    file.mkdir()
    with pytest.raises(FaultsError, match="folder"):
        lockfile.read(tmp_path, "noble")
    file.rmdir()
    os.mkfifo(file)
    with pytest.raises(FaultsError, match="regular file"):
        lockfile.read(tmp_path, "noble")
    file.unlink()
    file.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FaultsError, match="cannot be read"):
        lockfile.read(tmp_path, "noble")


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_one_other_byte_is_refused_or_changes_nothing(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.mktemp("lock")
    whole = lockfile.render("noble", both()).encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    other = bytes([data.draw(st.integers(0, 255))])
    lockfile.path(folder, "noble").write_bytes(whole[:at] + other + whole[at + 1 :])
    try:
        found = lockfile.read(folder, "noble")
    except UsageError:
        return
    assert {image: replace(one, where="") for image, one in found.items()} == both()


def test_a_lock_that_fits_its_manifest_holds() -> None:
    locks.check(entry(), IMAGE)
    over = replace(IMAGE, trust=Trust(kind="minisign", over="image", key=KEY, signature="https://images.example/s"))
    locks.check(entry(image=over, evidence=Evidence(kind="tls-only"), signed=over.trust), over)
    signed = replace(IMAGE, trust=Trust(kind="signify", key=KEY))
    locks.check(entry(image=signed, evidence=Evidence(kind="signify", value=KEY)), signed)


@pytest.mark.parametrize(
    "changed",
    [
        replace(IMAGE, url="https://elsewhere.example/disk.img"),
        replace(IMAGE, algorithm="sha512"),
        replace(IMAGE, format="raw"),
        replace(IMAGE, packing=Packing(compression="xz")),
        replace(IMAGE, item="x86_64/qemu/qcow2.xz"),
        replace(IMAGE, trust=replace(IMAGE.trust, fingerprints=("0" * 40,))),
        replace(IMAGE, trust=Trust(kind="tls-only")),
    ],
)
def test_after_a_change_of_the_manifest_a_lock_has_to_be_written_anew(changed: CloudImage) -> None:
    with pytest.raises(UsageError, match="does not fit") as caught:
        locks.check(entry(), changed)
    assert caught.value.exit_code == 2
    assert "`kmi lock noble:24.04`" in str(caught.value.hint)


TLS = replace(IMAGE, trust=Trust(kind="tls-only"))
OVER = replace(IMAGE, trust=Trust(kind="minisign", over="image", key=KEY, signature="https://images.example/s"))


@pytest.mark.parametrize(
    ("image", "changes"),
    [
        (TLS, {}),  # a signature where the publisher signs nothing
        (IMAGE, {"evidence": Evidence(kind="tls-only")}),
        (IMAGE, {"evidence": Evidence(kind="openpgp", value="0" * 40)}),
        (IMAGE, {"evidence": Evidence(kind="openpgp")}),
        (IMAGE, {"evidence": Evidence(kind="minisign", value=KEY)}),
        (OVER, {"evidence": Evidence(kind="minisign", value=KEY), "signed": OVER.trust}),  # not proved yet
        (OVER, {"evidence": Evidence(kind="tls-only")}),
        (OVER, {"evidence": Evidence(kind="tls-only"), "signed": replace(OVER.trust, key="RW" + "A" * 54)}),
        (IMAGE, {"signed": OVER.trust}),
        (IMAGE, {"url": "https://elsewhere.example/noble/disk.img"}),
        (IMAGE, {"url": "https://images.example/noble-evil/disk.img"}),
        (IMAGE, {"digest": Digest(algorithm="sha512", hex="ab" * 64)}),
        (IMAGE, {"format": "raw"}),
        (IMAGE, {"packing": Packing(compression="gz")}),
    ],
)
def test_a_lock_that_claims_more_than_the_verifier_could_have_found_is_refused(
    image: CloudImage, changes: dict[str, Any]
) -> None:
    with pytest.raises(VerificationError, match="does not allow") as caught:
        locks.check(entry(image=image, **changes), image)
    assert caught.value.exit_code == 4


def test_a_default_that_manifests_may_leave_out_changes_no_lock() -> None:
    """The value is in every committed lock: if it changes, all of them are outdated."""
    assert str(locks.section(IMAGE)) == "sha256:a625bdcfd46654a1204acf879e622a31d91a334aeba369159f82e6de386a6ac1"
    assert locks.section(IMAGE) == locks.section(replace(IMAGE, packing=Packing(), shape="lines"))
    assert locks.section(IMAGE) != locks.section(replace(IMAGE, shape="bare"))


@pytest.mark.parametrize("file", sorted(DISTROS.glob(f"*{lockfile.SUFFIX}")), ids=lambda path: path.name)
def test_a_committed_lock_is_signed_and_fits_its_manifest(file: Path) -> None:
    """If not: hack/record_locks.py makes them anew, of recorded documents."""
    distro = file.name.removesuffix(lockfile.SUFFIX)
    images = {spec.id: spec.cloud_image for spec in load_files([DISTROS / f"{distro}.yaml"]).specs}
    found = lockfile.read(DISTROS, distro)
    assert found
    for image, one in found.items():
        wanted = images[image]
        assert wanted
        locks.check(one, wanted)
        assert one.locked.evidence.kind != "tls-only"
    assert lockfile.render(distro, found) == file.read_text()
