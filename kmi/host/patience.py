"""How long kmi waits for servers: one number of seconds, and everything that follows from it."""

from __future__ import annotations

from dataclasses import dataclass

DEFAULT = 30.0
"""Seconds; the setting ``patience`` replaces it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for one server. All times are in seconds.

    ``connect`` bounds the connection, ``stall`` a silence, and in each ``stall`` of waiting at least ``least`` bytes a
    second must come: slower is as good as silent. ``attempts`` counts failures in a row; the n-th pause is ``pause``
    doubled n times, jittered; a server's Retry-After counts up to ``longest``. ``document`` and ``overall`` bound a
    document and a whole download, with all attempts and pauses.
    """

    connect: float = 15.0
    stall: float = DEFAULT
    least: int = 1024
    attempts: int = 5
    pause: float = 1.0
    longest: float = 120.0
    document: float = 600.0
    overall: float = 43_200.0

    @classmethod
    def of(cls, seconds: float) -> Patience:
        """The one whose ``stall`` is ``seconds``: all other times shrink or grow with it."""
        times = ("connect", "stall", "pause", "longest", "document", "overall")
        usual = cls()
        return cls(**{name: getattr(usual, name) * seconds / DEFAULT for name in times})
