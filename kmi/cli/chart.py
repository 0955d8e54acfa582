"""The chart of releases as text for a terminal, as narrow as it has to be."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby, zip_longest

from kmi.catalogue.chart import Row
from kmi.model.platform import Arch

BUILT, LISTED, NONE = "✓", "·", ""
LEGEND = f"* default  {BUILT} can be built  {LISTED} planned or past its end of life  byo: your own disk"
_HEAD = ("distro", "release", "tier", *(arch.value for arch in Arch), "trust", "source", "end of life")
_GROUPED_HEAD = ("  release", *_HEAD[2:])

Cells = tuple[tuple[str, ...], ...]
"""A row: the lines of each of its cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """``gap`` is the space between columns; ``joined`` puts several ways to a disk on one line; ``grouped`` names the
    distro above its releases instead of beside each."""

    gap: int
    joined: bool = False
    grouped: bool = False


_FORMS = (_Form(gap=2, joined=True), _Form(gap=2), _Form(gap=1), _Form(gap=1, grouped=True))


def columns() -> int | None:
    """Of the terminal, or what COLUMNS says; None for a pipe or a file."""
    return shutil.get_terminal_size((0, 0)).columns or None


def chart(found: Sequence[Row], today: date, width: int | None) -> str:
    """The widest form that fits ``width`` columns (None: any), or else the narrowest."""
    text = ""
    for form in _FORMS:
        text = _drawn(found, today, form)
        if width is None or max(map(len, text.splitlines())) <= width:
            break
    return text


def _drawn(found: Sequence[Row], today: date, form: _Form) -> str:
    head: Cells = tuple((cell,) for cell in (_GROUPED_HEAD if form.grouped else _HEAD))
    cells = [_cells(row, today, form) for row in found]
    widths = [max(len(line) for row in (head, *cells) for line in row[column]) for column in range(len(head))]
    lines = _lines(head, widths, form.gap)
    if not form.grouped:
        return "\n".join(lines + [line for row in cells for line in _lines(row, widths, form.gap)])
    for distro, group in groupby(zip(found, cells, strict=True), key=lambda pair: pair[0].first.id.distro):
        lines.append(distro)
        lines += [line for _, row in group for line in _lines(row, widths, form.gap)]
    return "\n".join(lines)


def _lines(cells: Cells, widths: Iterable[int], gap: int) -> list[str]:
    """As many lines as the tallest cell has."""
    return [
        (" " * gap).join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in zip_longest(*cells, fillvalue="")
    ]


def _cells(row: Row, today: date, form: _Form) -> Cells:
    first, past = row.first, row.past(today)
    release = first.id.release + "*" * first.default
    mark = LISTED if row.planned or past else BUILT
    ends = f"{first.end_of_life or ''}{' past' * past}"
    name = (f"  {release}",) if form.grouped else (first.id.distro, release)
    sources, proofs = zip(*row.ways, strict=True) if row.ways else ((), ())
    return (
        *((cell,) for cell in (*name, first.tier)),
        *((mark if arch in row.architectures else NONE,) for arch in Arch),
        (", ".join(proofs),) if form.joined else proofs,
        (", ".join(sources),) if form.joined else sources,
        (ends,),
    )
