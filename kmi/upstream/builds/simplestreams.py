"""Simplestreams indexes (launchpad.net/simplestreams): products, versions, items. Canonical publishes Ubuntu so."""

from __future__ import annotations

from kmi.host.http import Http
from kmi.model.spec import BuildLookup
from kmi.upstream import index, names
from kmi.upstream.builds.choice import newest


def find(lookup: BuildLookup, http: Http) -> str:
    """The newest build that has the item: the lookup's name is ``<product>/{build}/<item>``, as in
    ``com.ubuntu.cloud:server:24.04:amd64/{build}/disk1.img``. NetworkError, VerificationError."""
    url = lookup.url or ""
    products = index.at(index.load(http.get(url, limit=index.LIMIT).body, url), "products", where=url)
    product = lookup.name.partition("/")[0]
    versions = index.at(products, product, "versions", where=url)
    return newest(
        lookup,
        [
            f"{product}/{build}/{item}"
            for build, version in (versions.items() if isinstance(versions, dict) else ())
            if len(build) <= names.LONGEST  # a long one would be copied for each item
            for item in (version.get("items") or () if isinstance(version, dict) else ())
        ],
    )
