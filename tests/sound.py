"""Whether what kmi handed out is what its digest says, to the last bit."""

from __future__ import annotations

from pathlib import Path

from kmi.host.files import hash_file
from kmi.oci.layout import Descriptor, Layout


def sound(folder: Path, digest: str) -> None:
    """``folder`` is an image layout whose one root has that digest, with all that it refers to."""
    layout = Layout.open(folder)
    (root,) = layout.roots()
    assert str(root.digest) == digest
    for image in layout.images(root.digest):
        manifest = layout.read_json(image.digest)
        for part in (manifest["config"], *manifest["layers"]):
            layout.verify(Descriptor.of_json(part))
    for blob in (folder / "blobs" / "sha256").iterdir():
        assert not blob.is_symlink()
        assert hash_file(blob).hex == blob.name


def facts(folder: Path) -> dict[str, str]:
    """The first image's labels but the day of its download and the commit, which no digest is promised for."""
    layout = Layout.open(folder)
    (root,) = layout.roots()
    image = next(layout.images(root.digest))
    labels: dict[str, str] = layout.read_json(image.digest)["annotations"]
    return {name: value for name, value in labels.items() if not any(word in name for word in ("pulled", "revision"))}
