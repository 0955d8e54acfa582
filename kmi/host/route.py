"""Where a request may go and with which credentials; decided from URLs alone, nothing is asked here.

Publishers redirect to mirrors on other hosts, so any https host may serve: the digest decides. Credentials go to no
host but the one that the manifest or a mirror of the settings names.
"""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from kmi.errors import NetworkError
from kmi.host import redact

REDIRECTS = 10


def target(at: str, location: str) -> str:
    """Where a redirect leads; a malformed one as it stands, for ``require`` to refuse. Header fields come as Latin-1;
    servers write UTF-8."""
    try:
        location = location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        pass
    try:
        return urljoin(at, location)
    except ValueError:
        return location


def plain(*urls: str) -> bool:
    """Whether one of them asks for plain http."""
    return any(_scheme(url) == "http" for url in urls)


def require(url: str, at: str, *, plain: bool) -> None:
    """NetworkError unless ``at``, on the way to ``url``, is https (or http, where ``plain`` http was asked for)."""
    scheme = _scheme(at)
    if scheme == "https" or (scheme == "http" and plain):
        return
    raise NetworkError(
        f"cannot fetch {url}",
        expected="https all the way",
        got=f"{scheme or 'no scheme'}: {shown(at)}",
        where=shown(at),
        hint="a plain http server is used only where the manifest or `mirrors` in kmi.toml names it",
    )


def credentials(first: str, at: str) -> tuple[str, str] | None:
    """User and password for ``at``: those in the URL ``first`` (the manifest's or the mirror's), or for https those
    that ~/.netrc (or the file in ``NETRC``) has under exactly its host; its ``default`` is for nobody. Nothing once a
    redirect has left the scheme, host and port of ``first``."""
    try:
        here, there = urlsplit(first), urlsplit(at)
        same = (here.scheme, here.hostname, here.port) == (there.scheme, there.hostname, there.port)
    except ValueError:
        return None
    if not same or not here.hostname:
        return None
    pair: tuple[str, str] | None = None
    if here.username is not None:
        pair = unquote(here.username), unquote(here.password or "")
    elif here.scheme == "https":
        pair = _from_netrc(here.hostname)
    if pair:
        redact.know_login(*pair)
    return pair


def shown(url: str) -> str:
    """The URL for people: without passwords and signed queries."""
    return redact.redact(url)


def _from_netrc(host: str) -> tuple[str, str] | None:
    if host == "default":
        return None
    try:
        entry = netrc.netrc(os.environ.get("NETRC") or str(Path.home() / ".netrc")).hosts.get(host)
    except (OSError, ValueError, RuntimeError, netrc.NetrcParseError):
        return None
    return (entry[0], entry[2] or "") if entry else None


def _scheme(url: str) -> str:
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""
