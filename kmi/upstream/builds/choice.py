"""The newest of the names that a publisher gives; pure."""

from __future__ import annotations

from collections.abc import Iterable

from kmi.errors import VerificationError
from kmi.model.spec import BuildLookup
from kmi.upstream import names


def newest(lookup: BuildLookup, found: Iterable[str]) -> str:
    """The highest build id among the names that have the lookup's form. VerificationError if none has."""
    candidates = list(found)
    matching = (build for name in candidates if (build := names.match(lookup.name, name)))
    build = names.newest(build for build in matching if lookup.containing in build)
    if build is None:
        raise VerificationError(
            "the publisher names no build",
            expected=lookup.name,
            got=f"{len(candidates)} other names" + (f", such as {candidates[0][:80]!r}" if candidates else ""),
            where=lookup.url,
            hint="if the publisher changed its names, the manifest's build section has to follow",
        )
    return build
