"""Measures things in turn, so that a busy moment of the machine meets all of them, and shows what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Work = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """A figure of the runner and, if it has one, its counterpart.

    ``least`` and ``most`` are bounds: of the ratio, or of the runner's figure with ``bounds="figure"``. ``beside`` has
    figures of other programs, or of other circumstances, by their names.
    """

    what: str
    ours: float
    theirs: float | None
    unit: str
    rounds: int
    least: float | None = None
    most: float | None = None
    bounds: Literal["ratio", "figure"] = "ratio"
    beside: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours to theirs."""
        return None if self.theirs is None else self.ours / self.theirs

    @property
    def kept(self) -> bool:
        """Whether the bounds are kept; true without bounds."""
        value = self.ratio if self.bounds == "ratio" else self.ours
        if value is None:
            return True
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    @property
    def wanted(self) -> str:
        """The bounds in words."""
        limits = [f">= {self.least:,g}"] if self.least is not None else []
        limits += [f"<= {self.most:,g}"] if self.most is not None else []
        return " ".join(["ratio", *limits] if limits and self.bounds == "ratio" else limits)


def in_turn(works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Do every work ``rounds`` times, a/b/a/b, after once to warm up; return the seconds each took, sorted.

    Who goes first rotates, so that none is always the one after another.
    """
    for work in works.values():
        work()
    times: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            works[name]()
            times[name].append(time.perf_counter() - start)
    return {name: sorted(values) for name, values in times.items()}


def quantile(ordered: list[float], share: float) -> float:
    """Return the value below which ``share`` of the sorted values lie."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def show(rows: list[Row]) -> None:
    """Print a table in Markdown."""
    head = ("figure", "runner", "other", "unit", "ratio", "rounds", "wanted", "", "beside")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    rule = [
        ("-" * (width + 1) + ":") if column in _NUMBERS else "-" * (width + 2) for column, width in enumerate(widths)
    ]
    for number, line in enumerate(cells):
        print(
            "|",
            " | ".join(
                f"{cell:>{width}}" if column in _NUMBERS else f"{cell:<{width}}"
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ),
            "|",
        )
        if number == 0:
            print("|" + "|".join(rule) + "|")


_NUMBERS = (1, 2, 4, 5)
"""The columns that are aligned to the right."""


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.what,
        _short(row.ours),
        "" if row.theirs is None else _short(row.theirs),
        row.unit,
        "" if row.ratio is None else f"{row.ratio:.2f}" if row.ratio >= 0.1 else f"{row.ratio:.4f}",
        str(row.rounds),
        row.wanted,
        "" if not row.wanted else "yes" if row.kept else "NO",
        ", ".join(f"{name} {_short(figure)}" for name, figure in row.beside.items()),
    )


def _short(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 or figure == int(figure) else f"{figure:.2f}"
