"""How far a publisher is from what a lock has: another build, the same file, a step back in time, silence; pure."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum

from kmi.catalogue.lockfile import Entry
from kmi.catalogue.locks import section
from kmi.errors import InternalError, KmiError, VerificationError
from kmi.model.spec import ImageId, ImageSpec
from kmi.model.stages import Locked
from kmi.upstream.names import older


class State(StrEnum):
    """What became of an image. ``GONE``: the catalogue has it no more, so the lock loses it too."""

    NEW = "new"
    CHANGED = "changed"
    SAME = "same"
    GONE = "gone"
    ROLLBACK = "rollback"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One image. ``old`` is what the lock has, ``new`` what the publisher offers; ``silent`` is for how many days it
    has published nothing, and ``frozen`` whether that is longer than the manifest's ``max_age``."""

    id: ImageId
    state: State
    old: Locked | None = None
    new: Locked | None = None
    silent: int = 0
    frozen: bool = False
    error: KmiError | None = None

    @property
    def changes(self) -> tuple[str, ...]:
        """The fields that differ between the two."""
        if self.old is None or self.new is None:
            return ()
        old, new = self.old, self.new
        return tuple(field.name for field in fields(Locked) if getattr(old, field.name) != getattr(new, field.name))


def compared(
    spec: ImageSpec, answer: Locked | KmiError, held: Entry | None, *, now: datetime, allow_rollback: bool
) -> Row:
    """What the publisher answered beside what the lock has."""
    old = held.locked if held else None
    if isinstance(answer, KmiError):
        return Row(id=spec.id, state=State.FAILED, old=old, error=answer)
    silent = max((now - answer.released_at).days, 0)
    row = Row(
        id=spec.id, state=State.NEW, old=old, new=answer, silent=silent,
        frozen=spec.max_age is not None and silent > spec.max_age,
    )  # fmt: skip
    if held is None or old is None:
        return row
    back = rollback(old, answer)
    if back and not allow_rollback:
        return replace(row, state=State.ROLLBACK, error=_refused(old, back, held))
    if _same_file(old, answer) and not back:  # a new signature or date over it changes nothing
        row = replace(row, new=replace(old, size=old.size or answer.size))
    fits = held.manifest == entry(spec, answer).manifest
    return replace(row, state=State.SAME if row.new == old and fits else State.CHANGED)


def rollback(old: Locked, new: Locked) -> str:
    """How ``new`` goes back in time, or nothing.

    The same file of a publisher that signs nothing does not: its date is a server's, and servers differ.
    """
    if _same_file(old, new) and new.evidence.kind == "tls-only":
        return ""
    if older(new.build, old.build):
        return f"build {new.build}"
    return f"{new.released_at:%Y-%m-%d %H:%M:%S}" if new.released_at < old.released_at else ""


def entry(spec: ImageSpec, locked: Locked) -> Entry:
    """The lock's entry for what was found under the manifest as it is."""
    if spec.cloud_image is None:
        raise InternalError(f"{spec.id} has no image to download")
    return Entry(locked=locked, manifest=section(spec.cloud_image))


def _refused(old: Locked, back: str, held: Entry) -> VerificationError:
    return VerificationError(
        "the publisher went back in time",
        expected=f"build {old.build} of {old.released_at:%Y-%m-%d %H:%M:%S}, or a later one",
        got=back,
        where=held.where,
        hint="a mirror that is behind, a build that was withdrawn, or an attack: ask the publisher; "
        "--allow-rollback takes it as it is",
    )


def _same_file(old: Locked, new: Locked) -> bool:
    """Whether both name the same bytes, believed for the same reason. A size may be unknown."""
    sizes = {old.size, new.size} - {None}
    return len(sizes) < 2 and replace(new, build=old.build, released_at=old.released_at, size=old.size) == old
