"""The kinds of sources, one module each, all of one shape: ``locate(image, *, http, prove) -> Located``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from kmi.host.http import Http
from kmi.model.spec import CloudImage
from kmi.upstream.located import Located
from kmi.upstream.prove import Proved
from kmi.upstream.sources import checksum_file, coreos_stream, debian_json, oracle_template

Prove = Callable[[str], Proved]
"""Fetch the document at a URL and check it as the manifest's trust demands."""


class Source(Protocol):
    def __call__(self, image: CloudImage, *, http: Http, prove: Prove) -> Located: ...


SOURCES: dict[str, Source] = {
    "checksum-file": checksum_file.locate,
    "debian-json": debian_json.locate,
    "coreos-stream": coreos_stream.locate,
    "oracle-template": oracle_template.locate,
}
