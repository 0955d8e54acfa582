"""The small layer that kmi adds to the base: the entrypoint and everything it prints, below ``/kmi/``.

One file for each field lets a shell with nothing but ``cat`` answer. No path begins with ``disk``: CDI takes the first
file whose name has that prefix (containerized-data-importer pkg/importer/transport.go).
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from kmi.errors import HostError
from kmi.host.store import canonical
from kmi.model.metadata import BY_NAME, Metadata
from kmi.model.spec import LegalText
from kmi.oci.layer import Entry, LayerBlob, small_layer

ENTRYPOINT = "entrypoint.sh"
_SCRIPT = Path(__file__).parents[2] / "containerfiles" / "base" / ENTRYPOINT


def build(
    metadata: Metadata, licence: LegalText, eula: LegalText | None, *, out: Path, released_at: datetime
) -> LayerBlob:
    """Write the layer below ``out``. HostError if the entrypoint script is not beside this program."""
    return small_layer(entries(metadata, licence, eula), out, released_at)


def entries(metadata: Metadata, licence: LegalText, eula: LegalText | None) -> tuple[Entry, ...]:
    """The layer's members in order. Fields without a value have no file, and stand in no table."""
    told = {name: value for name, value in metadata.items() if value}
    files = [Entry(name="kmi/metadata/" + name, mode=0o444, data=f"{told[name]}\n".encode()) for name in sorted(told)]
    legal = [_legal("licence", licence)] + ([_legal("eula", eula)] if eula else [])
    return (
        Entry(name=ENTRYPOINT, mode=0o555, data=script()),
        Entry(name="kmi/", mode=0o755),
        *legal,
        Entry(name="kmi/metadata.json", mode=0o444, data=canonical(told) + b"\n"),
        Entry(name="kmi/metadata.txt", mode=0o444, data=table(told).encode()),
        Entry(name="kmi/metadata/", mode=0o755),
        *files,
    )


def table(metadata: Metadata) -> str:
    """The fields that have a value, aligned for people, in the order of the metadata table."""
    rows = [(name, metadata[name]) for name in BY_NAME if metadata.get(name)]
    width = max((len(name) for name, _ in rows), default=0)
    return "".join(f"{name:<{width}}  {value}\n" for name, value in rows)


def script() -> bytes:
    """The entrypoint, which ``containerfiles/base`` holds for kmi and for container engines alike."""
    try:
        return _SCRIPT.read_bytes()
    except OSError as error:
        raise HostError(
            "the image's entrypoint script is missing", got=error, hint="run kmi from a checkout of its repository"
        ) from error


def _legal(name: str, text: LegalText) -> Entry:
    head = "\n".join(filter(None, [text.name, text.url]))
    return Entry(name=f"kmi/{name}", mode=0o444, data=f"{head}\n\n{text.text.strip(chr(10))}\n".encode())
