"""What can go wrong between kmi and a server, told as errors: which are final, and which another attempt may cure."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence

from kmi.errors import KmiError, NetworkError, VerificationError
from kmi.host import headers, redact
from kmi.host.pace import TooSlow
from kmi.host.route import shown

_PASSING = frozenset({408, 425, 429})
"""Refusals that may be better a moment later, as any error of the server's own (5xx); 404 or 403 is final."""
_ELSEWHERE = "another server can be named under `mirrors` in kmi.toml"
_HINTS = {404: "the publisher may have moved it", 403: "the server forbids it; a mirror may not"}


class Transient(Exception):
    """A failure that another attempt may cure; ``wait`` is what the server asked for, in seconds."""

    def __init__(self, error: NetworkError, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait = wait


def refusal(url: str, at: str, status: int, reason: str, fields: Mapping[str, str]) -> Transient | NetworkError:
    """For an answer with another status than 200."""
    error = unlike(url, at, f"{status} {reason}", "status 200", hint=_HINTS.get(status))
    if status in _PASSING or 500 <= status < 600:
        return Transient(error, headers.retry_after(fields))
    return error


def unlike(url: str, at: str, status: str, expected: str, hint: str | None = None) -> NetworkError:
    got = f"status {status.rstrip()}"
    return NetworkError(f"cannot fetch {url}", expected=expected, got=got, where=shown(at), hint=hint)


def broken(url: str, at: str, error: BaseException, hint: str | None = None) -> NetworkError:
    """For a connection that could not be made or ended badly."""
    return NetworkError(f"cannot fetch {url}", got=reason(error), where=shown(at), hint=hint or _ELSEWHERE)


def untrusted(url: str, at: str, error: BaseException) -> NetworkError | None:
    """For a certificate that does not hold; None if the error is another one."""
    inner = cause(error)
    if not isinstance(inner, ssl.SSLCertVerificationError):
        return None
    return NetworkError(
        f"cannot fetch {url}",
        expected="a certificate that this system trusts, for this host",
        got=inner.verify_message or str(inner),
        where=shown(at),
        hint="a site with its own authority names its bundle in REQUESTS_CA_BUNDLE",
    )


def cut(url: str, at: str, came: int, expected: int | None) -> NetworkError:
    whole = "the end of the file" if expected is None else f"{expected} bytes"
    return NetworkError(f"{url} was cut", expected=whole, got=f"{came} bytes", where=shown(at), hint=_ELSEWHERE)


def within(url: str, size: int, limit: int) -> None:
    """NetworkError if ``size`` bytes are more than ``limit``."""
    if size > limit:
        raise NetworkError(
            f"{url} is too large", expected=f"at most {limit} bytes", got=f"{size} bytes or more", where=url
        )


def everywhere(url: str, failures: Sequence[tuple[str, KmiError]]) -> KmiError:
    """What all servers that stand for ``url`` said: the one error as it is, or one that lists them.

    VerificationError if any of them served something that proved wrong.
    """
    if len(failures) == 1:
        return failures[0][1]
    kind = VerificationError if any(isinstance(error, VerificationError) for _, error in failures) else NetworkError
    told = "; ".join(f"{shown(at)}: {error.got or error.what}" for at, error in failures)
    return kind(
        f"no server has {url}" if kind is NetworkError else f"no server has the right {url}",
        expected=failures[-1][1].expected,
        got=told,
        where=url,
        hint="these are the targets under `mirrors` in kmi.toml, in order",
    )


def reason(error: BaseException) -> str:
    """The innermost cause in words: the outer ones repeat it between the representations of objects."""
    inner = cause(error)
    return redact.redact(str(inner) if isinstance(inner, TooSlow) else f"{type(inner).__name__}: {inner}")


def cause(error: BaseException) -> BaseException:
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return cause(inner)
    nested = [arg for arg in error.args if isinstance(arg, BaseException)]
    return cause(nested[-1]) if nested else error
