"""Which URLs a manifest may name: plain http and https to a host by its ASCII name; pure.

Stricter than RFC 3986 wherever two readers of a URL are known to differ: no user (``https://good@evil/``), no
backslash, no fragment, no ``.`` and ``..`` in the path, also not percent-encoded, no encoded slash or control
character.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

_PARTS = re.compile(
    r"(?P<scheme>[^:/?#]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?\[\]-]|%[0-9A-Fa-f]{2})*")
"""RFC 3986, section 3.3 and 3.4, and the square brackets that some servers use."""


def check(text: str) -> str:
    """The URL itself; ValueError, in words, for any other text."""
    for message in _wrong(text):
        raise ValueError(message)
    return text


def _wrong(text: str) -> Iterator[str]:
    found = _PARTS.fullmatch(text)
    if found is None or found["scheme"] not in ("http", "https"):
        yield "an http or https URL with a path is expected"
        return
    host, colon, port = found["authority"].partition(":")
    if "@" in found["authority"]:
        yield "a URL without user and password is expected"
    if not _HOST.fullmatch(host) or len(host) > 253:
        yield "a host name in ASCII is expected (an international one in its xn-- form)"
    if colon and not (_PORT.fullmatch(port) and int(port) <= 65535):
        yield "a port from 1 to 65535 is expected"
    if not found["path"]:
        yield "an http or https URL with a path is expected"
    if found["fragment"]:
        yield "a URL without a fragment (#) is expected"
    if not _CHARACTERS.fullmatch(found["path"] + (found["query"] or "")):
        yield "a URL of the characters that RFC 3986 allows is expected, others as %XX"
    for part in found["path"].split("/"):
        decoded = unquote_to_bytes(part)
        if decoded in (b".", b".."):
            yield "a path without . and .. parts is expected"
        if re.search(rb"[\x00-\x1f\x7f/\\]", decoded):
            yield "a path without encoded slashes and control characters is expected"
