"""The table of a list."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TypeVar

import click

from runner.cli.terminal.columns import Column, fit
from runner.cli.terminal.listing import Listing, ListOptions
from runner.cli.terminal.output import is_utf8

T = TypeVar("T")


def table_columns(options: ListOptions, listing: Listing[T]) -> list[Column[T]]:
    """Return the columns of the table: the wide ones only if they are requested."""
    return [column for column in listing.columns if options.form == "wide" or not column.wide]


def used_columns(options: ListOptions, listing: Listing[T], rows: Sequence[T]) -> list[Column[T]]:
    """Return the columns of the table without optional ones that are empty in all rows."""
    columns = table_columns(options, listing)
    return [column for column in columns if not column.optional or any(column.text(row) for row in rows)]


def terminal_lines(options: ListOptions, listing: Listing[T], rows: Sequence[T]) -> list[str]:
    """Return the lines of the table for the terminal that stdout is."""
    width = None if options.form == "wide" else shutil.get_terminal_size().columns
    return _fit_terminal(used_columns(options, listing, rows), rows, width)


def terminal_pairs(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Return names and texts in two columns without headings; a text that is too long is cut."""
    columns: list[Column[tuple[str, str]]] = [
        Column("", lambda row: row[0], styles={name.partition(" ")[0]: "bold" for name, _ in rows}),
        Column("", lambda row: row[1], flexible=True),
    ]
    return _fit_terminal(columns, rows, shutil.get_terminal_size().columns)[1:]


def _fit_terminal(columns: Sequence[Column[T]], rows: Sequence[T], width: int | None) -> list[str]:
    encoding = sys.stdout.encoding
    return fit(
        columns,
        rows,
        width,
        ellipsis="…" if is_utf8(sys.stdout) else "~",
        paint=_paint,
        encode=lambda text: text if text.isascii() else text.encode(encoding, "backslashreplace").decode(encoding),
    )


def _paint(text: str, style: str) -> str:
    if os.environ.get("NO_COLOR"):
        return text
    return click.style(text, bold=True) if style == "bold" else click.style(text, fg=style)
