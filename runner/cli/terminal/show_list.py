"""Prints a list once, or follows it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from runner.cli.terminal.columns import plain_lines
from runner.cli.terminal.list_table import terminal_lines, used_columns
from runner.cli.terminal.listing import Listed, Listing, ListOptions, Pace
from runner.cli.terminal.output import Output

T = TypeVar("T")


def show_list(
    out: Output,
    options: ListOptions,
    listing: Listing[T],
    read: Callable[[Collection[str]], Listed[T]],
    nothing: str,
    pace: Pace,
) -> None:
    """Print a list in the requested form, or follow it.

    Args:
        out: the output of the command.
        options: the requested form.
        listing: how the list is shown.
        read: returns the rows; it gets the ids of runs that have changed since its last call.
        nothing: goes to stderr instead of a table without rows.
        pace: how it is followed.

    Raises:
        UsageError: the template has an unknown field.
        RunnerError: the rows cannot be read.
    """
    if options.template is not None:
        options.template.check(listing.fields)
    if options.follow:
        from runner.cli.terminal.follow_list import follow_list  # start-up time: most lists are not followed

        follow_list(out, options, listing, read, nothing, pace)
        return
    found = read(())
    print_rows(out, options, listing, found.rows, nothing)
    for note in found.notes:
        out.note(note)


def print_rows(out: Output, options: ListOptions, listing: Listing[T], rows: Sequence[T], nothing: str) -> None:
    """Print a list in the requested form. If a table has no rows, ``nothing`` goes to stderr instead."""
    if options.form == "json":
        out.document([listing.document(row) for row in rows])
    elif options.form == "jsonl":
        out.lines(listing.document(row) for row in rows)
    elif not options.is_table:
        from runner.cli.terminal.list_texts import text_heading, texts  # start-up time: most lists are tables

        empty = ["[]"] if options.form == "yaml" and not rows else []
        for line in [*text_heading(options, listing), *texts(options, listing, rows), *empty]:
            out.data(line)
    elif not rows:
        out.note(nothing)
    elif out.for_people:
        for line in terminal_lines(options, listing, rows):
            out.data(line, styled=True)
    else:
        for line in plain_lines(used_columns(options, listing, rows), rows)[0]:
            out.data(line)
