"""Everything that kmi refuses or fails at, one class for each exit status.

A message answers five questions where they have an answer: what failed, what was expected, what came
instead, where (``file:line``, a URL or a stage), and what to do now. Libraries raise these; only
``kmi.cli`` turns them into text and an exit status.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path


class KmiError(Exception):
    """The root; never raised itself. ``exit_code`` and ``label`` belong to the class, the rest to the case."""

    exit_code: int
    label: str = "error"

    def __init__(
        self,
        what: str,
        *,
        expected: object = None,
        got: object = None,
        where: object = None,
        hint: str | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.got = got
        self.where = where
        self.hint = hint
        self.log = log

    def facts(self) -> list[tuple[str, str]]:
        """The labelled lines below the message, in reading order, those that have a value."""
        rows = (
            ("expected", self.expected),
            ("got", self.got),
            ("where", self.where),
            ("hint", self.hint),
            ("log", self.log),
        )
        return [(name, str(value)) for name, value in rows if value is not None]

    def __str__(self) -> str:
        return "\n".join([self.what, *(f"  {name:<9}{value}" for name, value in self.facts())])


class BuildError(KmiError):
    """A step or a tool failed although its inputs were accepted."""

    exit_code = 1


class UsageError(KmiError):
    """The command line, the settings or a manifest is wrong."""

    exit_code = 2


class FaultsError(UsageError):
    """Everything that is wrong in the texts of a folder or a file, told at once. ``faults`` are pairs of ``file:line``
    (or the file alone) and a sentence, in reading order."""

    def __init__(self, what: str, faults: Sequence[tuple[str, str]]) -> None:
        count = f"{len(faults)} errors" if len(faults) > 1 else "an error"
        lines = "".join(f"\n  {where}: {message}" for where, message in faults)
        super().__init__(f"{count} in {what}:{lines}", where=faults[0][0])
        self.faults = tuple(faults)


class InternalError(KmiError):
    """kmi is wrong: a broken invariant. The command line reports any foreign exception as one too."""

    exit_code = 3
    label = "bug"


class VerificationError(KmiError):
    """A digest, a signature, a disk header or a contract rule did not hold. Nothing may be built on it."""

    exit_code = 4
    label = "refused"


class GateError(KmiError):
    """The image was built, but a check that its tier demands did not pass."""

    exit_code = 5
    label = "gate"


class NetworkError(KmiError):
    """A server did not answer, or answered what its protocol does not allow."""

    exit_code = 6


class HostError(KmiError):
    """This machine lacks a program, a binding, a permission or space."""

    exit_code = 7


class Interrupted(KmiError):
    """The user or the system asked kmi to stop."""

    exit_code = 130
    label = "interrupted"


class ManyErrors(Exception):
    """Several images failed; each has its error. The worst exit status (the highest) is the run's."""

    def __init__(self, failures: dict[str, KmiError]) -> None:
        super().__init__(f"{len(failures)} failed: {', '.join(failures)}")
        self.failures = failures

    @property
    def exit_code(self) -> int:
        return max(error.exit_code for error in self.failures.values())

    @property
    def bugs(self) -> dict[str, InternalError]:
        return {image: error for image, error in self.failures.items() if isinstance(error, InternalError)}


_HOST = {
    errno.ENOSPC: ("the disk is full", "`kmi cache prune` frees space; then run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "`kmi cache prune` frees space; then run the same command again"),
    errno.EROFS: ("the file system is read-only", None),
    errno.EFBIG: ("a file is larger than its file system allows", "see `ulimit -f`, or name another folder"),
    errno.EACCES: ("a file may not be opened", "check its owner and mode, or name another folder"),
    errno.EPERM: ("this user may not do that", "check owner and mode, or name another folder"),
    errno.EISDIR: ("a folder stands where a file belongs", "move it away, or name another folder"),
    errno.ENOTDIR: ("a file stands where a folder belongs", "move it away, or name another folder"),
    errno.EEXIST: ("something else stands where kmi wants to write", "move it away, or name another folder"),
    errno.EIO: ("the disk fails", "look at the kernel's log (`dmesg`)"),
    errno.EMFILE: ("too many open files", "raise `ulimit -n`"),
    errno.ENFILE: ("this machine has too many open files", None),
    errno.EAGAIN: ("this machine has no more processes or threads to give", "raise `ulimit -u`"),
}
"""What the machine lacks and kmi is not to blame for, with what to do."""


def foreign(error: Exception) -> KmiError:
    """An exception that no room raised on purpose: the machine's fault by its errno, else a bug. It stays the cause."""
    found: KmiError
    if isinstance(error, OSError) and error.errno in _HOST:
        what, hint = _HOST[error.errno]
        found = HostError(what, got=error.strerror, where=error.filename, hint=hint)
    else:
        found = InternalError(f"{type(error).__name__}: {error}")
    found.__cause__ = error
    return found
