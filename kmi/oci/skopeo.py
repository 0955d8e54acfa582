"""Running skopeo: with the login that the reference needs, within bounds of time, and with its failure understood.

No single limit of time fits a push, so skopeo is ended when no byte moves. Its own retries are not used: they do not
cover a plain 500, and what may be tried again is the caller's knowledge (``kmi.oci.attempts.patiently``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kmi.errors import BuildError
from kmi.host.run import run
from kmi.host.silence import Silence
from kmi.oci import logins
from kmi.oci.attempts import failure, silence
from kmi.oci.reference import Reference

_TIMEOUT = 6 * 3600.0
"""Seconds that anything may take; only what trickles runs into it."""
_DEBUG = re.compile(r'level=debug msg="(.*)"$')
_REQUEST = re.compile(r"(?:GET|HEAD|POST|PUT|PATCH|DELETE) https?://(?!\S+/v1/_ping$)\S+$")
"""The protocol's first version is asked for when the second one does not answer; nobody means it."""
_FATAL = re.compile(r'level=fatal msg="(.*)"$')
_INDEX = re.compile(r"Upload of manifest list type \S+ failed: (.*)")
"""What really went wrong with an index: skopeo goes on to other media types, and its last words are of those
(containers/image, copy/copy.go, copyMultipleImages)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What skopeo wrote to stdout, and the requests that it made, ``PUT https://…``, in their order."""

    stdout: str
    requests: tuple[str, ...]

    @property
    def uploads(self) -> tuple[str, ...]:
        """Those that brought a blob, or tried to."""
        return tuple(one for one in self.requests if not one.startswith(("GET", "HEAD")) and "/blobs/uploads/" in one)


def skopeo(
    reference: Reference,
    *words: str,
    what: str,
    cwd: Path | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Answer:
    """Run it once. ``what`` is the sentence of the error: NotFound, or RegistryError with the request that failed."""
    requests: list[str] = []
    said: list[str] = []

    def heard(line: str) -> None:
        debug, died = _DEBUG.search(line), _FATAL.search(line)
        if debug and _REQUEST.match(debug[1]):
            requests.append(debug[1])
        elif died := died or (_INDEX.match(debug[1]) if debug else None):
            said.append(_unquoted(died[1]))
        elif on_line and not debug:
            on_line(line)

    login, watch = logins.find(reference), Silence(silence(writing="inspect" not in words))
    with logins.lent(login, reference.host) as file:
        env = {"REGISTRY_AUTH_FILE": str(file)} if file else {}
        argv = ["skopeo", "--debug", "--insecure-policy", *words]
        try:
            done = run(argv, env=env, cwd=cwd, log=log, timeout=_TIMEOUT, stuck=watch, on_line=heard)
        except BuildError as error:
            first = said[0] if said else _unsaid(error, watch)
            raise failure(reference, first, what=what, login=login, asked=requests, log=log) from error
    return Answer(stdout=done.stdout, requests=tuple(requests))


def _unquoted(text: str) -> str:
    """As it was before logrus quoted it (Go's ``%q``), in one line."""
    return text.replace(r"\n", " ").replace(r"\"", '"').strip()


def _unsaid(error: BuildError, watch: Silence) -> str:
    """skopeo had no last words: it was ended, or it is not the skopeo that kmi knows."""
    if "ran out of time" in error.what:
        return f"ran out of time: no byte moved for {watch.limit:g} s"
    return str(error.got)
