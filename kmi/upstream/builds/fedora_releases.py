"""Fedora's ``releases.json``: a list of rows, each with the ``link`` of a file."""

from __future__ import annotations

from kmi.host.http import Http
from kmi.model.spec import BuildLookup
from kmi.upstream import index
from kmi.upstream.builds.choice import newest


def find(lookup: BuildLookup, http: Http) -> str:
    """The newest build among the files' names. NetworkError, VerificationError."""
    url = lookup.url or ""
    links = (row.get("link") for row in index.rows(index.load(http.get(url).body, url)))
    return newest(lookup, [link.rpartition("/")[2] for link in links if isinstance(link, str)])
