"""A web server's directory listing: every link to a direct child counts, by its name (folders end with a slash)."""

from __future__ import annotations

import re
from itertools import islice
from urllib.parse import unquote, urldefrag, urljoin

from kmi.errors import VerificationError
from kmi.host.http import Http
from kmi.model.spec import BuildLookup
from kmi.upstream.builds.choice import newest

_MOST = 50_000
_LINK = re.compile(rb"href\s{0,9}=\s{0,9}[\"']([^\"'<>\s]{1,512})[\"']", re.IGNORECASE)


def find(lookup: BuildLookup, http: Http) -> str:
    """The newest entry of the folder at the lookup's URL. NetworkError, VerificationError."""
    url = lookup.url or ""
    return newest(lookup, children(http.get(url).body, url))


def children(page: bytes, url: str) -> list[str]:
    """The names of a folder's entries, decoded. VerificationError for a page without a single link."""
    links = [match[1].decode("ascii", "replace") for match in islice(_LINK.finditer(page), _MOST + 1)]
    if not links:
        raise VerificationError("the publisher's folder has no entries", got=f"{len(page)} bytes", where=url)
    if len(links) > _MOST:
        raise VerificationError(
            "the publisher's folder is too large", expected=f"at most {_MOST} links", got="more", where=url
        )
    base = url if url.endswith("/") else url + "/"
    found = []
    for link in links:
        target = _joined(base, link)
        name = unquote(target.removeprefix(base)) if target.startswith(base) else ""
        if name and "?" not in target and "/" not in name.rstrip("/") and name.isprintable():
            found.append(name)
    return found


def _joined(base: str, link: str) -> str:
    try:
        return urldefrag(urljoin(base, link)).url
    except ValueError:  # an address such as http://[
        return ""
