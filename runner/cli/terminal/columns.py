"""Lays out the rows of a list: one line each, as wide as a terminal at most."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from typing import Generic, TypeVar

from runner._dataclass import dataclass
from runner.model.printable import printable

T = TypeVar("T")
U = TypeVar("U")

GAP = "  "
LEAST = 10
"""Cells that a flexible column keeps as long as a less important column can be dropped."""
LEAST_OF_FIRST = 20
"""The same of one that is never dropped: it says which row it is."""
SHORT_ID = 8


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column of a list.

    Args:
        heading: in capitals.
        text: returns the text of a row.
        priority: 0 is never dropped; of the others, the highest goes first where the terminal is narrow.
        flexible: may be cut, with an ellipsis.
        right: aligned to the right on a terminal.
        wide: shown only with ``-o wide``.
        optional: left out if it is empty in all rows.
        least: the cells that a flexible column keeps as long as a less important column can be dropped, instead of the
            default. Another column with it is cut to that once flexible ones cannot give more.
        id: holds ids, of which a terminal shows the first 8 characters.
        styles: colors by the first word of the text.
    """

    heading: str
    text: Callable[[T], str]
    priority: int = 0
    flexible: bool = False
    right: bool = False
    wide: bool = False
    optional: bool = False
    id: bool = False
    least: int = 0
    styles: Mapping[str, str] = field(default_factory=dict)

    def within(self, part: Callable[[U], T]) -> Column[U]:
        """Return the column for rows of which ``part`` returns the one that it is about."""
        options = {option.name: getattr(self, option.name) for option in fields(self) if option.name != "text"}
        text = self.text
        return Column(text=lambda row: text(part(row)), **options)


def read_cells(columns: Sequence[Column[T]], rows: Sequence[T]) -> list[list[str]]:
    """Return the texts of the rows, each on one line and harmless for a terminal."""
    return [[printable(column.text(row)).replace("\n", " ").replace("\t", " ") for column in columns] for row in rows]


def plain_lines(
    columns: Sequence[Column[T]], rows: Sequence[T], least: Sequence[int] = ()
) -> tuple[list[str], list[int]]:
    """Return a heading and the rows as lines for a program, and the width of each column in characters.

    A column is as wide as its longest text, and at least as wide as ``least`` says.
    """
    lines = [[column.heading for column in columns], *read_cells(columns, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    widths = [max(pair) for pair in zip(widths, least, strict=True)] if least else widths
    padded = (GAP.join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines)
    return [line.rstrip() for line in padded], widths


def fit(
    columns: Sequence[Column[T]],
    rows: Sequence[T],
    width: int | None,
    *,
    ellipsis: str = "…",
    paint: Callable[[str, str], str] = lambda text, _style: text,
    encode: Callable[[str], str] = lambda text: text,
) -> list[str]:
    """Return a heading and one line for each row, none wider than ``width``.

    Columns are dropped until the others fit with their flexible columns cut. Then the least important flexible column
    is cut first.

    Args:
        columns: of the list, in their order.
        rows: its rows.
        width: cells of the terminal; None shows every column in full, and full ids.
        ellipsis: ends a text that is cut.
        paint: returns a text in a style: ``bold``, or a color.
        encode: returns a text as the terminal's encoding can show it.
    """
    cells = [[encode(text) for text in line] for line in read_cells(columns, rows)]
    if width is not None:
        for at in (at for at, column in enumerate(columns) if column.id):
            short = short_ids([line[at] for line in cells])
            for line in cells:
                line[at] = short[line[at]]
    lines = [[column.heading for column in columns], *cells]
    natural = [max(text_width(line[at]) for line in lines) for at in range(len(columns))]
    empty = [not any(line[at] for line in cells) for at in range(len(columns))]
    chosen = list(range(len(columns))) if width is None else _choose(columns, natural, empty, width)
    widths = natural if width is None else _shrink(columns, natural, chosen, width)
    while width is not None and len(chosen) > 1 and _total(widths, chosen) > width:
        chosen.pop()  # a terminal of a few cells
    drawn = []
    for number, line in enumerate(lines):
        parts = []
        for at in chosen:
            text = clip(line[at], widths[at], ellipsis)
            space = " " * (widths[at] - text_width(text))
            style = columns[at].styles.get(line[at].partition(" ")[0], "") if number else "bold"
            shown = paint(text, style) if style and text else text
            last = at == chosen[-1] and not columns[at].right
            parts.append(space + shown if columns[at].right else shown if last else shown + space)
        drawn.append(GAP.join(parts).rstrip(" "))
    return drawn


def _choose(columns: Sequence[Column[T]], natural: Sequence[int], empty: Sequence[bool], width: int) -> list[int]:
    """Return the columns that fit; those without any text go first."""
    chosen = list(range(len(columns)))
    least = [
        min(wide, _least(column)) if column.flexible else wide for column, wide in zip(columns, natural, strict=True)
    ]
    droppable = sorted(
        (at for at in chosen if columns[at].priority), key=lambda at: (empty[at], columns[at].priority), reverse=True
    )
    for at in droppable:
        if _total(least, chosen) <= width:
            break
        chosen.remove(at)
    return chosen


def _shrink(columns: Sequence[Column[T]], natural: Sequence[int], chosen: Sequence[int], width: int) -> list[int]:
    """Return the width of each column: flexible ones give first, the less important ones before the others."""
    widths = list(natural)
    flexible = [at for at in chosen if columns[at].flexible]
    others = [at for at in chosen if columns[at].least and not columns[at].flexible]
    for candidates, keep in ((flexible, True), (others, True), (flexible, False), (chosen, False)):
        for at in sorted(candidates, key=lambda at: (columns[at].priority, at), reverse=True):
            excess = _total(widths, chosen) - width
            if excess > 0:
                least = _least(columns[at]) if keep else 1
                widths[at] = max(min(widths[at], least), widths[at] - excess)
    return widths


def _least(column: Column[T]) -> int:
    return column.least or (LEAST if column.priority else LEAST_OF_FIRST)


def _total(widths: Sequence[int], chosen: Sequence[int]) -> int:
    return sum(widths[at] for at in chosen) + len(GAP) * max(0, len(chosen) - 1)


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Return the first 8 characters of each id; more of those that begin alike."""
    alike: dict[str, list[str]] = {}
    for run_id in sorted(set(ids)):
        alike.setdefault(run_id[:SHORT_ID], []).append(run_id)
    short = {}
    for group in alike.values():
        for run_id in group:
            others = [other for other in group if other != run_id]
            length = SHORT_ID
            while length < len(run_id) and any(other.startswith(run_id[:length]) for other in others):
                length += 1
            short[run_id] = run_id[:length]
    return short


def text_width(text: str) -> int:
    """Return the width of a text in cells of a terminal: two for most Chinese characters and for emoji."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # start-up time: most texts are ASCII

    return cell_len(text)


def clip(text: str, width: int, ellipsis: str = "…") -> str:
    """Return ``text`` in ``width`` cells at most; what is cut ends with the ellipsis."""
    if text_width(text) <= width:
        return text
    room = width - text_width(ellipsis)
    if room < 1:
        return ellipsis[:width]
    kept = ""
    for char in text:
        room -= text_width(char)
        if room < 0:
            break
        kept += char
    return kept.rstrip() + ellipsis
