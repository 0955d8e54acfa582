"""Which images belong together, where their result lies, and several releases side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from kmi.errors import KmiError, ManyErrors, UsageError
from kmi.model.spec import ImageSpec, Tier

Release = tuple[ImageSpec, ...]
"""The architectures of one release, at least one."""

T = TypeVar("T")


def releases(specs: Iterable[ImageSpec]) -> tuple[Release, ...]:
    """Group by release, in the order of the selection. UsageError for an image that its tier does not build."""
    groups: dict[str, list[ImageSpec]] = {}
    for spec in specs:
        if spec.tier is Tier.PLANNED:
            raise UsageError(f"{spec.id} is only planned", expected="tier preview or above", where=spec.where)
        groups.setdefault(spec.id.name, []).append(spec)
    return tuple(tuple(group) for group in groups.values())


def folder(output: Path, release: Release) -> Path:
    """``build/debian-12-amd64`` for one architecture, ``build/debian-12`` for several."""
    name = str(release[0].id) if len(release) == 1 else release[0].id.name
    return output / name


def each(work: Callable[[Release], T], chosen: tuple[Release, ...], jobs: int) -> tuple[T, ...]:
    """Do ``work`` for every release, ``jobs`` at once. One that fails does not stop the others.

    Raises the one error, or ManyErrors with the error of each.
    """
    failures: dict[str, KmiError] = {}
    results: list[T] = []

    def attempt(release: Release) -> None:
        try:
            results.append(work(release))
        except KmiError as error:
            failures[release[0].id.name] = error

    if len(chosen) == 1:
        return (work(chosen[0]),)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        list(pool.map(attempt, chosen))
    if failures:
        raise ManyErrors(failures)
    return tuple(results)
