"""Which images belong together, where their result lies, and several releases side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from kmi.errors import HostError, KmiError, ManyErrors, UsageError
from kmi.host.run import stop_all
from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec, Tier

Release = tuple[ImageSpec, ...]
"""The architectures of one release, at least one."""

T = TypeVar("T")


def releases(specs: Iterable[ImageSpec], host: Arch) -> tuple[Release, ...]:
    """Group what can be built by release, in the order of the selection. Planned images are left out.

    UsageError if nothing is left, HostError for an architecture that this host (``host``) cannot customise.
    """
    chosen = tuple(specs)
    groups: dict[str, list[ImageSpec]] = {}
    for spec in (spec for spec in chosen if spec.tier is not Tier.PLANNED):
        if spec.id.arch is not host:
            raise HostError(
                f"{spec.id} cannot be built on this host",
                expected=f"a host of architecture {spec.id.arch}: kmi customises and boots its own only",
                got=host,
                hint=f"--arch {host}",
            )
        groups.setdefault(spec.id.name, []).append(spec)
    if not groups:
        raise UsageError(f"{chosen[0].id} is only planned", expected="tier preview or above", where=chosen[0].where)
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
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            stop_all()
            raise
    if len(failures) == 1 and len(chosen) == 1:
        raise next(iter(failures.values()))
    if failures:
        raise ManyErrors(failures)
