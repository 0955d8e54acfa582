"""How the current build of a moving image is found, one module each, all of one shape: ``find(lookup, http) -> id``.

What is found here is not proved: it only says which checksum document to ask for. A build that goes back in time is
the lock's to refuse.
"""

from __future__ import annotations

from typing import Protocol

from kmi.host.http import Http
from kmi.model.spec import BuildLookup
from kmi.upstream.builds import fedora_releases, listing, redirect, side_file, simplestreams


class Find(Protocol):
    def __call__(self, lookup: BuildLookup, http: Http) -> str: ...


BUILDS: dict[str, Find] = {
    "listing": listing.find,
    "redirect": redirect.find,
    "side-file": side_file.find,
    "simplestreams": simplestreams.find,
    "fedora-releases": fedora_releases.find,
}
