from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from kmi.errors import UsageError, VerificationError
from kmi.model.digest import Digest
from kmi.oci.layout import INDEX, MANIFEST, Descriptor, Layout


def test_writes_canonical_json_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        layout = Layout.create(tmp_path / "oci")
        entry = layout.add_json(MANIFEST, {"b": 1, "a": "é"})
    finally:
        os.umask(old)
    assert layout.blob(entry.digest).read_bytes() == '{"a":"é","b":1}'.encode()
    assert layout.blob(entry.digest).stat().st_mode & 0o777 == 0o444
    assert layout.blobs.stat().st_mode & 0o777 == 0o755
    assert (layout.root / "index.json").stat().st_mode & 0o777 == 0o644
    assert (layout.root / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'


def test_reads_back_what_it_refers_to(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    child = layout.add_json(MANIFEST, {"layers": []})
    child = Descriptor(media_type=MANIFEST, digest=child.digest, size=child.size, architecture="arm64", os="linux")
    index = layout.add_json(INDEX, {"manifests": [child.to_json()]})
    layout.set_roots((index,))
    again = Layout.open(tmp_path)
    assert again.roots() == (index,)
    assert tuple(again.images(index.digest)) == (child,)
    assert [image.digest for image in again.images(child.digest)] == [child.digest]


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    entry = layout.add_bytes(MANIFEST, b'{"a":1}')
    layout.verify(entry)
    path = layout.blob(entry.digest)
    path.chmod(0o644)
    path.write_bytes(b'{"a":2}')
    with pytest.raises(VerificationError):
        layout.read(entry.digest)
    with pytest.raises(VerificationError):
        layout.verify(entry)


def test_what_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    with pytest.raises(VerificationError, match="missing"):
        layout.read(Digest(algorithm="sha256", hex="0" * 64))
    large = layout.add_bytes(MANIFEST, b" " * (16 * 1024 * 1024 + 1))
    with pytest.raises(VerificationError, match="too large"):
        layout.read(large.digest)


@pytest.mark.parametrize("text", ["[]", "{", "null", '{"imageLayoutVersion":"2.0.0"}', "{}"])
def test_refuses_what_is_no_layout(text: str, tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_text(text)
    with pytest.raises(UsageError):
        Layout.open(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"manifests":{}}', '{"manifests":[{"digest":"x"}]}',
                                  '{"manifests":[{"mediaType":"a","digest":"sha256:0","size":1}]}'])  # fmt: skip
def test_a_malformed_index_is_refused(text: str, tmp_path: Path) -> None:
    layout = Layout.create(tmp_path)
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(VerificationError):
        layout.roots()


def test_links_between_layouts_and_copies_across_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, near, far = (Layout.create(tmp_path / name) for name in ("source", "near", "far"))
    entry = source.add_bytes(MANIFEST, b"{}")
    near.take(source, entry.digest)
    assert near.blob(entry.digest).samefile(source.blob(entry.digest))

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another file system")

    monkeypatch.setattr(os, "link", refuse)
    far.take(source, entry.digest)
    assert not far.blob(entry.digest).samefile(source.blob(entry.digest))
    assert far.read(entry.digest) == b"{}"
    assert far.blob(entry.digest).stat().st_mode & 0o777 == 0o444
