"""What HTTP header fields say (RFC 9110), as numbers and times; pure. Malformed fields count as absent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def length(headers: Mapping[str, str]) -> int | None:
    """Content-Length in bytes."""
    return _number(headers.get("Content-Length", ""))


def total(headers: Mapping[str, str]) -> int | None:
    """The whole file's size in bytes, from Content-Range (14.4)."""
    return _number(headers.get("Content-Range", "").rpartition("/")[2])


def start(headers: Mapping[str, str]) -> int | None:
    """The offset of the first byte sent, from Content-Range (14.4)."""
    return _number(headers.get("Content-Range", "").partition("bytes ")[2].partition("-")[0])


def modified(headers: Mapping[str, str]) -> datetime | None:
    return _moment(headers.get("Last-Modified", ""))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from Retry-After, which is a number or a date (10.2.3); negative for a date that is past."""
    text = headers.get("Retry-After", "").strip()
    seconds = _number(text)
    if seconds is not None:
        return float(seconds)
    moment = _moment(text)
    return None if moment is None else (moment - datetime.now(UTC)).total_seconds()


def validator(headers: Mapping[str, str]) -> str | None:
    """What If-Range may carry: a strong ETag, else the date of the file (13.1.5)."""
    tag, date = headers.get("ETag", ""), headers.get("Last-Modified", "")
    if _STRONG.fullmatch(tag):
        return tag
    return date if _moment(date) and _DATE.fullmatch(date) else None


def continues(headers: Mapping[str, str], offset: int, known: str | None) -> bool:
    """Whether a 206 goes on at ``offset`` of the version ``known``."""
    return offset > 0 and start(headers) == offset and same_version(headers, known)


def same_version(headers: Mapping[str, str], known: str | None) -> bool:
    """False where the answer names another version than ``known``, a value of ``validator``."""
    given = validator(headers)
    comparable = given is not None and known is not None and given.startswith('"') == known.startswith('"')
    return not comparable or given == known


_STRONG = re.compile(r'"[!#-~]{0,256}"')
"""An entity-tag (8.8.3) without W/, and of a length that a request can carry."""
_DATE = re.compile(r"[A-Za-z0-9 ,:+-]{1,64}")


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
