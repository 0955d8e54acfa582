"""Which images a command means: ``DISTRO[:RELEASE]``, with ``*``; pure."""

from __future__ import annotations

import difflib
import platform
from collections.abc import Sequence

from kmi.catalogue.load import Catalogue
from kmi.documents import shown
from kmi.errors import UsageError
from kmi.model.platform import Arch
from kmi.model.spec import ImageSpec

ALL = "all"
_LIST = "`kmi list` shows every image"


def select(catalogue: Catalogue, selectors: Sequence[str], arch: str | None = None) -> tuple[ImageSpec, ...]:
    """The images that the selectors name, each once, in the catalogue's order.

    Without a release the default one is meant; a release goes by its version or code name. ``arch`` is an
    architecture, ``all``, or None for this machine's. UsageError, with the nearest word, for a selector that names
    nothing and for an architecture that none of its images has.
    """
    wanted = _architectures(arch)
    chosen: set[ImageSpec] = set()
    for selector in selectors:
        matching = _matching(catalogue, selector)
        built = [spec for spec in matching if spec.id.arch in wanted]
        if not built:
            offered = sorted({spec.id.arch.value for spec in matching})
            raise UsageError(
                f"{selector} is not built for {' or '.join(sorted(wanted))}",
                expected=" or ".join([*offered, ALL]),
                where=matching[0].where,
                hint=f"try --arch {offered[0]}",
            )
        chosen.update(built)
    return tuple(spec for spec in catalogue.specs if spec in chosen)


def _architectures(arch: str | None) -> frozenset[Arch]:
    if arch == ALL:
        return frozenset(Arch)
    try:
        return frozenset({Arch.of_machine(platform.machine()) if arch is None else Arch(arch)})
    except ValueError:
        known = [*(known.value for known in Arch), ALL]
        raise _unknown("architecture", platform.machine() if arch is None else arch, known) from None


def _matching(catalogue: Catalogue, selector: str) -> list[ImageSpec]:
    distro, colon, release = selector.partition(":")
    of_distro = [spec for spec in catalogue.specs if _like(distro, spec.id.distro)]
    if not of_distro:
        raise _unknown("distro", distro, sorted({spec.id.distro for spec in catalogue.specs}))
    if not colon:
        return [spec for spec in of_distro if spec.default]
    matching = [spec for spec in of_distro if _like(release, spec.id.release) or _like(release, spec.codename)]
    if not matching:
        known = dict.fromkeys(name for spec in of_distro for name in (spec.id.release, spec.codename) if name)
        raise _unknown(f"release of {distro}", release, list(known))
    return matching


def _like(pattern: str, name: str) -> bool:
    """Whether ``name`` has the pattern's parts in their order, each at the first place where it can be: linear, where
    a regular expression tries every way to spread many stars."""
    first, *others = pattern.split("*")
    if not others:
        return bool(name) and name == pattern
    *inner, last = others
    at = len(first)
    for part in inner:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return bool(name) and name.startswith(first) and name.endswith(last) and len(name) >= at + len(last)


def _unknown(what: str, word: str, known: list[str]) -> UsageError:
    close = difflib.get_close_matches(word[:100], known, n=1)
    hint = f"did you mean {close[0]}?" if close else _LIST
    return UsageError(f"there is no {what} {shown(word)}", expected=", ".join(known), hint=hint)
