"""Params and results as pages show them: a table of names and values, a table of rows, or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from runner._dataclass import dataclass

MOST_ROWS = 100
MOST_COLUMNS = 8
LONGEST = 16 * 1024
"""Characters of one value that a page shows; the API returns all of it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as text. ``plain`` is text as a person wrote it; the rest is JSON."""

    text: str
    plain: bool = False
    block: bool = False
    """It has several lines."""
    cut: bool = False
    """Its end is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A value as a table. Exactly one of ``pairs``, ``rows``, and ``cell`` is set."""

    pairs: list[tuple[str, Cell]] | None = None
    """The entries of a mapping."""
    columns: list[str] | None = None
    rows: list[list[Cell]] | None = None
    """A list of mappings that have the same few keys."""
    cell: Cell | None = None
    """Any other value."""
    left_out: int = 0
    """Entries or rows that are not shown."""

    @property
    def cut(self) -> bool:
        """Whether anything is left out."""
        cells = [self.cell] if self.cell else [cell for _, cell in self.pairs or ()]
        return self.left_out > 0 or any(
            cell.cut for cell in [*cells, *(cell for row in self.rows or () for cell in row)]
        )


def table_of(value: Any) -> Table:
    """Return a JSON value as a table."""
    if isinstance(value, Mapping) and value:
        shown = list(value.items())[:MOST_ROWS]
        room = LONGEST
        pairs = []
        for name, item in shown:
            cell = _cell(item, room)
            room = max(200, room - len(cell.text))
            pairs.append((str(name), cell))
        return Table(pairs=pairs, left_out=len(value) - len(shown))
    if (columns := _columns(value)) is not None:
        shown_rows = value[:MOST_ROWS]
        rows = [[_cell(row[name], LONGEST // MOST_ROWS) for name in columns] for row in shown_rows]
        return Table(columns=columns, rows=rows, left_out=len(value) - len(shown_rows))
    return Table(cell=_cell(value, LONGEST))


def _columns(value: Any) -> list[str] | None:
    """Return the keys that all rows of a list have in common, or None if it is not a table of scalars."""
    if not isinstance(value, list) or len(value) < 2 or not isinstance(value[0], Mapping):
        return None
    names = list(value[0])
    if not 0 < len(names) <= MOST_COLUMNS:
        return None
    same = all(isinstance(row, Mapping) and list(row) == names for row in value)
    return names if same and not any(isinstance(item, dict | list) for row in value for item in row.values()) else None


def _cell(value: Any, most: int) -> Cell:
    if isinstance(value, str):
        return _cut(value, most, plain=value != "")
    if isinstance(value, dict | list) and value:
        short = json.dumps(value, ensure_ascii=False)
        return _cut(short if len(short) <= 60 else json.dumps(value, ensure_ascii=False, indent=2), most, plain=False)
    return _cut(json.dumps(value, ensure_ascii=False), most, plain=False)


def _cut(text: str, most: int, *, plain: bool) -> Cell:
    cut = len(text) > most
    shown = f"{text[:most]}…" if cut else text
    return Cell(shown if plain or shown else '""', plain=plain, block="\n" in shown, cut=cut)
