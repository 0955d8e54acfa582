"""How long a registry is waited for, and how often it is asked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from kmi.errors import Interrupted
from kmi.host.run import stopping
from kmi.oci import trouble
from kmi.oci.logins import Login
from kmi.oci.reference import Reference
from kmi.oci.trouble import Kind, NotFound, RegistryError

PATIENCE = 30.0
"""Seconds that any server may be silent, unless ``be_patient`` says otherwise (``Settings.patience``)."""
_READ, _WRITE = 2.0, 10.0
"""How many times as long a registry may be silent: before it answers, it may hash and move gigabytes."""
_PAUSES = (1 / 30, 1 / 10, 3 / 10)
"""Before the second, third and last try, as parts of the patience: 1, 3 and 9 s."""
_patience = PATIENCE

T = TypeVar("T")
Note = Callable[[str], None]


def be_patient(seconds: float) -> None:
    """Set the patience, once at the start of the process."""
    global _patience
    _patience = seconds


def silence(*, writing: bool) -> float:
    """Seconds in which a registry may neither take nor give a byte."""
    return _patience * (_WRITE if writing else _READ)


def patiently(work: Callable[[], T], note: Note | None = None, also: Kind | None = None) -> T:
    """Do ``work``, which must be safe to do twice, until it ends without a failure that may be over soon (or of the
    kind ``also``): four times at most, and twice if the registry is silent. ``note`` is told of each failure but the
    last."""
    silent = False
    for part in _PAUSES:
        pause = _patience * part
        try:
            return work()
        except RegistryError as error:
            if error.kind not in (Kind.BROKEN, Kind.SILENT, also) or (silent and error.kind is Kind.SILENT):
                raise
            silent |= error.kind is Kind.SILENT
            if note:
                note(f"{error.where}: {str(error.got)[:200]}; trying again in {pause:g} s")
        _wait(pause)
    return work()


def failure(
    reference: Reference, said: str, *, what: str, login: Login, asked: Sequence[str] = (), log: Path | None = None
) -> RegistryError:
    """The error for what a tool ``said`` when a request to ``reference``'s registry failed; ``asked`` are the requests
    that it had made. A NotFound where the registry has no such image."""
    kind = trouble.kind(said)
    absent = kind is Kind.ABSENT
    error = (NotFound if absent else RegistryError)(
        f"the registry has no image {reference}" if absent else what,
        got=trouble.shortened(said),
        where=trouble.request(said, asked) or reference,
        hint=trouble.hint(kind, reference.host, str(login)),
        log=log,
    )
    error.kind = kind
    return error


def lost(what: str, subject: Reference, log: Path | None = None) -> RegistryError:
    """201 for all that was written, and the ``what`` (a signature, a test result) that was to refer to the image is not
    there."""
    error = RegistryError(
        f"the registry took a {what} and does not have it",
        expected="what refers to the image in its list",
        got="none when it is asked for",
        where=f"PUT /v2/{subject.path}/manifests/{str(subject.digest).replace(':', '-')}",
        hint=f"nothing was tagged; the log of {subject.host} may tell why; then run the same command again",
        log=log,
    )
    error.kind = Kind.BROKEN
    return error


def _wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if stopping():
            raise Interrupted("stopped")
        time.sleep(min(0.1, left))
