"""``kmi lock``: what the publishers offer today, compared with what the locks say, and written where it may be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial

from kmi.catalogue import lockfile
from kmi.catalogue.lockfile import Entry
from kmi.errors import Interrupted, KmiError, ManyErrors, foreign
from kmi.host.http import Http
from kmi.host.store import Store
from kmi.host.ui import Reporter
from kmi.model.spec import ImageId, ImageSpec
from kmi.model.stages import Locked
from kmi.pipeline.drift import Row, State, compared, entry
from kmi.pipeline.releases import Terms, each, refusal
from kmi.settings import Settings
from kmi.upstream.resolve import resolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """How to go about it. ``known`` is every image of the catalogue."""

    settings: Settings
    store: Store
    ui: Reporter
    known: frozenset[ImageId]
    write: bool
    allow_rollback: bool
    now: datetime


def left_out(specs: Iterable[ImageSpec], today: date) -> tuple[dict[str, list[ImageSpec]], list[str]]:
    """The images that have something to lock, by distro, and why each of the others has not."""
    chosen: dict[str, list[ImageSpec]] = {}
    why: list[str] = []
    for spec in specs:
        if error := refusal(spec, Terms(today=today)):
            why.append(f"{error.what}: {error.got}" if error.got else error.what)
        elif spec.cloud_image is None:
            why.append(f"{spec.id} has no image to download")
        else:
            chosen.setdefault(spec.id.distro, []).append(spec)
    return chosen, why


def refreshed(chosen: Mapping[str, list[ImageSpec]], how: Refresh, jobs: int) -> tuple[list[Row], dict[str, KmiError]]:
    """Ask for every image, ``jobs`` distros side by side, and write each distro's lock when its images are known,
    unless only asked to look. What failed never hides the rest: errors by image, or by the first image's release for
    what concerns the whole lock."""
    rows: list[Row] = []
    groups = tuple(tuple(specs) for specs in chosen.values())
    failures: dict[str, KmiError] = {}
    try:
        each(partial(_distro, how), rows.extend, groups, jobs)
    except ManyErrors as many:
        failures |= many.failures
    except KmiError as error:
        failures[groups[0][0].id.name] = error
    failures |= {str(row.id): row.error for row in rows if row.error}
    return rows, failures


def _distro(how: Refresh, specs: tuple[ImageSpec, ...]) -> tuple[Row, ...]:
    distro, directory = specs[0].id.distro, how.settings.distros
    lockfile.read(directory, distro)  # a lock that cannot be read is known before anybody is asked
    http = Http.of(how.settings)
    try:
        found = {spec.id: (spec, _asked(spec, http, how)) for spec in specs}
    finally:
        http.close()
    with how.store.lock(f"catalogue-{distro}"):
        entries = lockfile.read(directory, distro)
        rows = [
            compared(spec, answer, entries.get(image), now=how.now, allow_rollback=how.allow_rollback)
            for image, (spec, answer) in found.items()
        ]
        gone = [image for image in entries if image not in how.known]
        rows += [Row(id=image, state=State.GONE, old=entries[image].locked) for image in gone]
        if how.write:
            lockfile.write(directory, distro, _merged(entries, rows, found))
    return tuple(rows)


def _asked(spec: ImageSpec, http: Http, how: Refresh) -> Locked | KmiError:
    """What the publisher offers, or why that is not known."""
    try:
        with how.ui.step(str(spec.id), "resolve") as step, how.store.scratch() as scratch:
            locked = resolve(spec, http=http, settings=how.settings, scratch=scratch, step=step)
            lockfile.holds(spec.id.distro, {spec.id: entry(spec, locked)})
            step.done(f"{locked.build}, {locked.evidence}")
            return locked
    except Interrupted:
        raise
    except KmiError as error:
        return error
    except Exception as error:
        return foreign(error)


def _merged(
    entries: Mapping[ImageId, Entry], rows: Iterable[Row], found: Mapping[ImageId, tuple[ImageSpec, object]]
) -> dict[ImageId, Entry]:
    """The lock as it should be: what failed or was refused stays as it was."""
    merged = dict(entries)
    for row in rows:
        if row.state is State.GONE:
            del merged[row.id]
        elif row.state in (State.NEW, State.CHANGED) and row.new:
            merged[row.id] = entry(found[row.id][0], row.new)
    return merged
