"""Everything that kmi refuses or fails at, one class for each exit status.

A message answers five questions where they have an answer: what failed, what was expected, what came
instead, where (``file:line``, a URL or a stage), and what to do now. Libraries raise these; only
``kmi.cli`` turns them into text and an exit status.
"""

from __future__ import annotations

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
