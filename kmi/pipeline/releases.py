"""Which images belong together, where their result lies, and several releases side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from kmi.errors import HostError, KmiError, ManyErrors, UsageError, foreign
from kmi.host.run import stop_all
from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec, Tier

Release = tuple[ImageSpec, ...]
"""The architectures of one release, at least one."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Under what terms images are taken: the day, whether also past their end of life (``ended``), and whether also
    those that may not simply be passed on (``restricted``)."""

    today: date
    ended: bool = False
    restricted: bool = True


def refusal(spec: ImageSpec, terms: Terms) -> UsageError | None:
    """Why an image is not built or published under these terms; None if it is."""
    if spec.tier is Tier.PLANNED:
        got = spec.reason or None
        return UsageError(f"{spec.id} is only planned", expected="tier preview or above", got=got, where=spec.where)
    if not terms.ended and spec.end_of_life and spec.end_of_life < terms.today:
        successor = f"{spec.id.distro}:{spec.successor} replaces it; " if spec.successor else ""
        return UsageError(
            f"{spec.id} is past its end of life",
            expected="a release that its publisher maintains",
            got=f"it ended on {spec.end_of_life}",
            where=spec.where,
            hint=f"{successor}--past-end-of-life takes it all the same",
        )
    if not terms.restricted and spec.redistribution:
        return UsageError(
            f"{spec.id} may not simply be passed on: {spec.redistribution}",
            expected="what that policy of its publisher allows",
            where=spec.where,
            hint="--redistribute, if you have read it and may; --to local keeps it on this machine",
        )
    return None


def reason(error: UsageError) -> str:
    """A refusal in one line."""
    return f"{error.what}: {error.got}" if error.got else error.what


def releases(
    specs: Iterable[ImageSpec],
    host: Arch,
    terms: Terms,
    *,
    named: frozenset[ImageSpec] = frozenset(),
    note: Callable[[str], None] = lambda _: None,
) -> tuple[Release, ...]:
    """Group what can be built by release, in the order of the selection. What is refused is left out, and ``note`` is
    told.

    UsageError for an image that is refused although it was ``named`` without a wildcard (planned ones only if nothing
    is left), HostError for an architecture that this host (``host``) cannot customise.
    """
    groups: dict[str, list[ImageSpec]] = {}
    refused: list[UsageError] = []
    for spec in specs:
        if error := refusal(spec, terms):
            if spec in named and spec.tier is not Tier.PLANNED:
                raise error
            refused.append(error)
            note(f"left out: {reason(error)}")
            continue
        if spec.recipe is not None and spec.id.arch is not host:
            raise HostError(
                f"{spec.id} cannot be built on this host",
                expected=f"a host of architecture {spec.id.arch}: kmi customises its own only",
                got=host,
                hint=f"--arch {host}",
            )
        groups.setdefault(spec.id.name, []).append(spec)
    if not groups:
        raise refused[0]
    return tuple(tuple(group) for group in groups.values())


def folder(output: Path, release: Release) -> Path:
    """``build/debian-12-amd64`` for one architecture, ``build/debian-12`` for several."""
    name = str(release[0].id) if len(release) == 1 else release[0].id.name
    return output / name


def each(work: Callable[[Release], T], done: Callable[[T], None], chosen: tuple[Release, ...], jobs: int) -> None:
    """Do ``work`` for every release, ``jobs`` at once, and tell ``done`` of each result in the selection's order.

    One that fails does not stop the others: at the end the one error is raised, or ManyErrors with the error of each.
    On an interrupt no further release begins.
    """
    failures: dict[str, KmiError] = {}
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        futures = [pool.submit(work, release) for release in chosen] if len(chosen) > 1 else []
        try:
            for number, release in enumerate(chosen):
                try:
                    done(futures[number].result() if futures else work(release))
                except KmiError as error:
                    failures[release[0].id.name] = error
                except Exception as error:
                    if len(chosen) == 1:
                        raise
                    failures[release[0].id.name] = foreign(error)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_all()
            raise
    if len(failures) == 1 and len(chosen) == 1:
        raise next(iter(failures.values()))
    if failures:
        raise ManyErrors(failures)
