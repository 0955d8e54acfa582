"""The one place that knows what must not be told: no log, receipt, report, message or crash file holds a secret.

Known are the values that kmi reads itself (``know``), what the environment holds under the name of a secret or in a
URL, and four shapes that are secret wherever they stand: userinfo in a URL, credentials in an HTTP header, a signed
query, a private key in PEM. What a program answers for kmi to read on is data and is not touched.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MARK = "***"
_SHORTEST = 4
"""Characters. A shorter word stands in half of all lines; blanking it would hide the text and give the word away."""
_NAMES = re.compile(r"PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|CREDENTIAL|(PRIVATE|API|ACCESS)_?KEY", re.IGNORECASE)
_NO_SECRET = re.compile(r"(?i)true|false|none|null|always|never|auto|/\S*|\d{1,5}")
"""Values that variables with such names have and that are none: switches, counts, and paths of files."""
_USERINFO = re.compile(r"""(?<=://)[^\s/?#"'<>\\]+@""")
_PASSWORD = re.compile(r"""://[^\s/?#"'<>:@\\]*:([^\s/?#"'<>\\]+)@""")
_SHAPES = (
    (_USERINFO, MARK + "@"),
    (re.compile(r"(?i)\b((?:proxy-)?authorization|x-registry-auth)(\W{1,4})(?:\w+ +)?[^\s\"',\\]+"), rf"\1\2{MARK}"),
    (re.compile(r"\b((?i:bearer|basic) +)[A-Za-z0-9+/._~-]{16,}={0,2}"), rf"\1{MARK}"),
    (re.compile(r"(?i)([?&][\w-]*(?:token|secret|password|signature|credential|sig)=)[^&\s\"'\\]+"), rf"\1{MARK}"),
    (re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(?:(?=-----END )|\Z)", re.DOTALL), rf"\1{MARK}"),
)
_LOCK = threading.Lock()
_KNOWN: set[str] = set()


def know(*secrets: str) -> None:
    """Have these words blanked from now on, in this whole process. Empty and very short ones are left out."""
    forms = {form for secret in secrets for form in _forms(secret)}
    with _LOCK:
        _KNOWN.update(forms)


def know_login(user: str, password: str) -> None:
    """The password, and the pair as HTTP and Docker's files write it (RFC 7617)."""
    know(password, base64.b64encode(f"{user}:{password}".encode()).decode("ascii"))


def redact(text: str) -> str:
    """The text without secrets. Linear in its length; takes any text, whole or a line of it."""
    with _LOCK:
        known = set(_KNOWN)
    known.update(_environment())
    for secret in sorted(known, key=len, reverse=True):  # a word that begins another one must not spare its rest
        text = text.replace(secret, MARK)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def redacted(value: Any) -> Any:
    """The same of every text in a value of JSON's kinds, names in objects left alone."""
    match value:
        case str():
            return redact(value)
        case dict():
            return {name: redacted(one) for name, one in value.items()}
        case list() | tuple():
            return [redacted(one) for one in value]
        case _:
            return value


def _environment() -> Iterator[str]:
    """What the environment holds now: whole values by name, and passwords in URLs of any variable."""
    for name, value in os.environ.items():
        if _NAMES.search(name) and not _NO_SECRET.fullmatch(value):
            yield from _forms(value)
        elif "://" in value:
            yield from _forms(*_PASSWORD.findall(value))


def _forms(*secrets: str) -> Iterable[str]:
    """A secret as it may be written: plain, in JSON, in a URL (and out of one), in a shell's words, line by line."""
    for secret in secrets:
        for word in (secret, unquote(secret), *(secret.splitlines() if "\n" in secret else ())):
            forms = (
                word,
                json.dumps(word)[1:-1],
                quote(word),
                quote(word, safe=""),
                quote_plus(word),
                shlex.quote(word),
            )
            yield from (form for form in forms if len(form.strip()) >= _SHORTEST and len(word) >= _SHORTEST)
