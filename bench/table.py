"""Measurements and the table made of them; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

USUAL, KMI = "usual tools", "kmi"


class Stage(StrEnum):
    """What both contenders do, in this order."""

    CUSTOMISE = "customise"
    FINISH = "finish"
    CONTAINERISE = "containerise"
    PUSH = "push"
    SIGN = "sign"


TO_REGISTRY = (Stage.FINISH, Stage.CONTAINERISE, Stage.PUSH)
Times = Mapping[Stage, Sequence[float]]
"""Seconds of every round of every stage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A ratio that the project holds itself to."""

    row: str
    stages: tuple[Stage, ...]
    ratio: float


TARGETS = (
    Target(row="customised disk to pushed image", stages=TO_REGISTRY, ratio=10.0),
    Target(row="overall", stages=tuple(Stage), ratio=1.3),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: seconds of both, how often the stage ran, and the ratio that is asked of it, if any."""

    name: str
    usual: float
    kmi: float
    rounds: int | None = None
    target: float | None = None

    @property
    def ratio(self) -> float:
        """How many times as fast kmi is."""
        return self.usual / self.kmi

    @property
    def met(self) -> bool:
        return self.target is None or self.ratio >= self.target


def rows(usual: Times, kmi: Times) -> tuple[Row, ...]:
    """A row for each stage (the median of its rounds), then the sums of medians that ``TARGETS`` are about."""
    stages = {
        stage: Row(name=stage.value, usual=median(usual[stage]), kmi=median(kmi[stage]), rounds=len(kmi[stage]))
        for stage in Stage
    }
    sums = (
        Row(
            name=target.row,
            usual=sum(stages[stage].usual for stage in target.stages),
            kmi=sum(stages[stage].kmi for stage in target.stages),
            target=target.ratio,
        )
        for target in TARGETS
    )
    return (*stages.values(), *sums)


def markdown(table: Sequence[Row]) -> str:
    """The table in Markdown, aligned so that it reads in a terminal too."""
    lines = [("stage", USUAL, KMI, "ratio", "asked for", "rounds")]
    for row in table:
        asked = f"{row.target:g}: {'met' if row.met else 'missed'}" if row.target else ""
        lines.append(
            (row.name, _seconds(row.usual), _seconds(row.kmi), f"{row.ratio:.1f}", asked, str(row.rounds or ""))
        )
    return grid(lines)


def grid(lines: Sequence[Sequence[str]]) -> str:
    """Cells in aligned columns; the first line is the head, all columns but the first are flush right."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def shown(line: Sequence[str]) -> str:
        first, *rest = zip(line, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"

    rule = "|" + "|".join("-" * (widths[0] + 2) if not n else "-" * (w + 1) + ":" for n, w in enumerate(widths)) + "|"
    return "\n".join([shown(lines[0]), rule, *(shown(line) for line in lines[1:])])


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 100 else f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"
