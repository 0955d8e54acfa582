"""What a registry's failure is, read from what skopeo, cosign and the registry say of it; and what to do about it.

The words are those of containers/image (docker/docker_image_dest.go, docker/errors.go), go-containerregistry
(pkg/v1/remote/transport/error.go), Go's net/http, and the distribution-spec's error codes ("Error Codes").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from kmi.errors import NetworkError


class Kind(StrEnum):
    """``BROKEN`` and ``SILENT`` may be over a second later; the others need somebody to do something."""

    FULL = "full"
    BUSY = "busy"
    LOGIN = "login"
    DENIED = "denied"
    ABSENT = "absent"
    BROKEN = "broken"
    SILENT = "silent"
    OTHER = "other"


class RegistryError(NetworkError):
    """A request to a registry failed. ``kind`` tells whether it is of use to try again."""

    kind: Kind = Kind.OTHER


class NotFound(RegistryError):
    """The registry answered, and it holds no such image."""

    kind = Kind.ABSENT


_STATUS = r"status(?: ?code)?(?: from registry)?:? "
_KINDS = (
    (Kind.FULL, r"no space left|insufficient storage|quota|disk full|" + _STATUS + "507"),
    (Kind.BUSY, r"too ?many ?requests|rate limit|" + _STATUS + "429"),
    (Kind.LOGIN, r"unauthorized|authentication required|invalid username/password|no basic auth|" + _STATUS + "401"),
    (Kind.DENIED, r"\bdenied\b|forbidden|" + _STATUS + "403"),
    (Kind.ABSENT, r"manifest[ _]unknown|name[ _]unknown|404 \(?not found|" + _STATUS + "404"),
    (Kind.SILENT, r"ran out of time|deadline exceeded"),
    (
        Kind.BROKEN,
        r"\bEOF\b|reset by peer|refused|broken pipe|time-?out|timed out|blob[ _]unknown|"
        r"server misbehaving|network is unreachable|closed network|connection lost|malformed HTTP|"
        r"digest[ _]invalid|upload[ _](?:unknown|invalid)|temporary failure|" + _STATUS + "(?:408|5[0-9]{2})",
    ),
)
_TABLE = tuple((kind, re.compile(words, re.IGNORECASE)) for kind, words in _KINDS)
_URL = re.compile(r"""https?://[^\s"']+""")
_NAMED = re.compile(
    r"""\b(GET|HEAD|POST|PUT|PATCH|DELETE) ["']?(https?://[^\s"']+?)["']?(?=:? |:?$|:?")""", re.IGNORECASE
)
_METHODS = (
    ("initiating layer upload", "POST"),
    ("uploading layer chunked", "PATCH"),
    ("uploading layer to", "PUT"),
    ("uploading manifest", "PUT"),
    ("checking whether a blob", "HEAD"),
    ("reading manifest", "GET"),
    ("fetching manifest", "GET"),
)


def kind(said: str) -> Kind:
    """What went wrong. Addresses are left out: a repository may be called anything."""
    words = _URL.sub("URL", said)
    return next((one for one, pattern in _TABLE if pattern.search(words)), Kind.OTHER)


def request(said: str, asked: Sequence[str] = ()) -> str | None:
    """The request that failed, ``PUT https://host/v2/…`` without its query: as ``said`` names it, or the last of those
    that were ``asked`` and are of the method that it speaks of."""
    if named := _NAMED.search(said):
        return f"{named[1].upper()} {named[2].partition('?')[0]}"
    method = next((method for words, method in _METHODS if words in said), "")
    return next((one.partition("?")[0] for one in reversed(asked) if one.startswith(method)), None)


def shortened(said: str) -> str:
    """Without the queries of addresses: hundreds of characters of a registry's own state."""
    return _URL.sub(lambda url: url[0].partition("?")[0], said)


def hint(kind: Kind, host: str, login: str) -> str:
    """What to do now. ``login`` tells which credentials were used, or that there were none."""
    again = "then run the same command again: it does what is missing"
    match kind:
        case Kind.FULL:
            return f"free space or raise the quota at {host}, {again}"
        case Kind.BUSY:
            return f"{host} limits requests (a login often raises the limit; {login}); wait, {again}"
        case Kind.LOGIN:
            return f"{login}; log in with `skopeo login {host}` or `docker login {host}`, {again}"
        case Kind.DENIED:
            return f"this login may not do that ({login}); ask for the right at {host}, {again}"
        case Kind.ABSENT:
            return "check the name and the tag or digest; a private repository looks absent without a login"
        case Kind.BROKEN | Kind.SILENT:
            return (
                f"{host} or the network to it failed (the registry's own log tells more, a full disk for one); {again}"
            )
        case Kind.OTHER:
            return f"check the network and the login ({login}), {again}"
