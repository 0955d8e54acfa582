"""A small document that names the current build, such as Flatcar's ``version.txt`` and Gentoo's ``latest-*.txt``."""

from __future__ import annotations

from kmi.errors import VerificationError
from kmi.host.http import Http
from kmi.model.spec import BuildLookup
from kmi.upstream.builds.choice import newest

_LIMIT = 64 << 10


def find(lookup: BuildLookup, http: Http) -> str:
    """The newest build among the document's lines and words. NetworkError, VerificationError."""
    url = lookup.url or ""
    try:
        text = http.get(url, limit=_LIMIT).body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise VerificationError("the document that names the build is not text", got=error, where=url) from error
    lines = [line.strip() for line in text.splitlines()]
    return newest(lookup, [*lines, *(word for line in lines for word in line.split())])
