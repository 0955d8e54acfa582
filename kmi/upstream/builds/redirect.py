"""A fixed URL that redirects to the folder or file of the current build."""

from __future__ import annotations

from kmi.host.http import Http
from kmi.model.spec import BuildLookup
from kmi.upstream import names
from kmi.upstream.builds.choice import newest


def find(lookup: BuildLookup, http: Http) -> str:
    """The build in the place that the lookup's URL redirects to: its name is compared with that whole URL's end.
    NetworkError, VerificationError."""
    return newest(lookup, tails(http.head(lookup.url or "").at))


def tails(url: str) -> list[str]:
    """The URL and everything that stands behind each of its slashes, the longest first; of a long URL only its end."""
    parts = url[-names.LONGEST :].split("/")
    return ["/".join(parts[number:]) for number in range(len(parts))]
