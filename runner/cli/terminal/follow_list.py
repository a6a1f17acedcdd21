"""Follows a list: redraws its table on a terminal, and prints new and changed rows elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

import click

from runner.cli.terminal.columns import plain_lines, read_cells, text_width
from runner.cli.terminal.faults import write
from runner.cli.terminal.list_table import table_columns, terminal_lines
from runner.cli.terminal.list_texts import text_heading, texts
from runner.cli.terminal.listing import Listed, Listing, ListOptions, Pace
from runner.cli.terminal.output import Collected, Output
from runner.cli.terminal.readers import while_read
from runner.errors import ArchiveUnavailable, Unavailable
from runner.ledger.events import Event, Events, Gap

T = TypeVar("T")
Read = Callable[[Collection[str]], Listed[T]]

TICK = 0.5
"""Seconds between looks for events."""
AWAY_SECONDS = 2.0
"""Seconds between tries to read a list while Redis cannot be reached."""
MOST_REMEMBERED = 100_000
"""Rows that were printed; of more, those that are listed now."""


def follow_list(
    out: Output, options: ListOptions, listing: Listing[T], read: Read[T], nothing: str, pace: Pace
) -> None:
    """Show a list and its changes until the command is interrupted, or nobody reads stdout any more.

    Raises:
        RunnerError: the list cannot be read at the beginning.
    """
    readings = _read_again(out, read, pace)
    with while_read():
        if options.redraws(out):
            _redraw(out, options, listing, readings, nothing)
        else:
            print_changes(out, options, listing, readings, pace)


def _read_again(out: Output, read: Read[T], pace: Pace) -> Iterator[Listed[T] | None]:
    """Yield the list whenever it was read anew, and None in between."""
    streams = _Streams(pace)
    yield read(())
    read_at = time.monotonic()
    while True:
        time.sleep(TICK)
        changed = streams.changed()
        longest = AWAY_SECONDS if streams.away else pace.longest
        if not changed and not streams.missed and time.monotonic() - read_at < longest:
            yield None
            continue
        read_at = time.monotonic()
        try:
            yield read(() if streams.missed else changed)
        except (Unavailable, ArchiveUnavailable) as error:
            out.warn(f"{error.message}; the list continues as soon as it can be read")
            yield None


class _Streams:
    """The events of the projects; of one that cannot be reached, those from when it can be."""

    def __init__(self, pace: Pace) -> None:
        self._waiting = list(pace.projects.by_name.values()) if pace.projects is not None else []
        self._open: list[Events] = []
        self.away = False
        """Whether a project could not be reached at the last call."""
        self.missed = False
        """Whether there may have been events that the last call did not see, so that the whole list is to be read."""
        self.changed()

    def changed(self) -> set[str]:
        """Return the ids of the runs that have changed since the last call."""
        changed: set[str] = set()
        was_away, self.away, self.missed = self.away, False, False
        for project in [*self._waiting]:
            try:
                self._open.append(Events(project.ledger))
                self._waiting.remove(project)
            except Unavailable:
                self.away = True
        for stream in self._open:
            try:
                while page := stream.page():
                    changed |= {event.id for event in page if isinstance(event, Event)}
                    self.missed = self.missed or any(isinstance(event, Gap) for event in page)
            except Unavailable:
                self.away = True
        self.missed = self.missed or (was_away and not self.away)
        return changed


# -- on a terminal


def _redraw(
    out: Output, options: ListOptions, listing: Listing[T], readings: Iterator[Listed[T] | None], nothing: str
) -> None:
    found: Listed[T] | None = None
    remarks: list[str] = []
    shown: list[str] = []
    size = shutil.get_terminal_size()
    for reading in readings:
        taken = out.take() if isinstance(out, Collected) else []
        if reading is not None or taken:
            remarks = taken
        found = reading or found
        if found is None:
            continue
        rows = terminal_lines(options, listing, found.rows) if found.rows else [nothing]
        before, size = size, shutil.get_terminal_size()
        lines = _within([*rows, *found.notes, *remarks], size.lines - 1)
        if lines == shown and size == before:
            continue
        # A terminal that has another size has broken the lines anew, so that their number is not known.
        start = f"\x1b[{_height(shown, size.columns)}A" if shown and size == before else ""
        start += "\x1b[H\x1b[2J" if size != before else ""
        write(sys.stdout, start + "".join(f"\r{line}\x1b[K\n" for line in lines) + "\x1b[J")
        shown = lines


def _within(lines: list[str], most: int) -> list[str]:
    """Return the lines that fit a terminal, and how many do not."""
    if len(lines) <= max(2, most):
        return lines
    kept = max(1, most - 1)
    return [*lines[:kept], f"… {len(lines) - kept} more"]


def _height(lines: Sequence[str], width: int) -> int:
    """Return the height of the lines on a terminal; a line that is wider than the terminal wraps."""
    return sum(max(1, -(-text_width(click.unstyle(line)) // max(1, width))) for line in lines)


# -- elsewhere


def print_changes(
    out: Output, options: ListOptions, listing: Listing[T], readings: Iterator[Listed[T] | None], pace: Pace
) -> None:
    """Print the rows of the first reading, and of the others those that are new or have changed."""
    changes = _Changes(out, options, listing)
    remarks: list[str] = []
    first = True
    for reading in readings:
        taken = out.take() if isinstance(out, Collected) else []
        if reading is not None:
            # The oldest first, as they came.
            changes.print(reading.rows if first or not pace.newest_first else reading.rows[::-1], heading=first)
            taken += reading.notes
            first = False
        for remark in taken:
            if remark not in remarks:
                write(sys.stderr, f"{remark}\n")
        if reading is not None or taken:
            remarks = taken


class _Changes(Generic[T]):
    """Prints the rows that are new, or that differ from what was printed of them."""

    def __init__(self, out: Output, options: ListOptions, listing: Listing[T]) -> None:
        self._out = out
        self._options = options
        self._listing = listing
        self._columns = table_columns(options, listing)
        self._widths: list[int] = []
        self._printed: dict[Hashable, tuple[int, int]] = {}
        """Hashes of the document and of the text: a fleet has more runs than memory should hold."""

    def print(self, rows: Sequence[T], *, heading: bool) -> None:
        """Print those of ``rows`` that are new or have changed."""
        changed = [row for row in rows if self._has_changed(row)]
        if len(self._printed) > MOST_REMEMBERED:
            listed = {self._listing.key(row) for row in rows}
            self._printed = {key: seen for key, seen in self._printed.items() if key in listed}
        if self._options.form == "jsonl":
            self._out.lines(self._listing.document(row) for row in changed)
        elif self._options.is_table:
            lines, self._widths = plain_lines(self._columns, changed, self._widths)
            for line in lines[0 if heading else 1 :]:
                self._out.data(line)
        else:
            head = text_heading(self._options, self._listing) if heading else []
            for line in [*head, *texts(self._options, self._listing, changed)]:
                self._out.data(line)

    def _has_changed(self, row: T) -> bool:
        document = self._listing.document(row)
        steady = {name: value for name, value in document.items() if name not in self._listing.unsteady}
        shown = self._text(row)
        key, now = self._listing.key(row), (hash(repr(steady)), hash(repr(shown)))
        before = self._printed.get(key)
        self._printed[key] = now
        return before is None or (before[0] != now[0] and (shown is None or before[1] != now[1]))

    def _text(self, row: T) -> object:
        """Return the texts that are shown for a row, or None if its document is shown."""
        if self._options.form == "jsonl":
            return None
        if self._options.is_table:
            return read_cells(self._columns, [row])
        return texts(self._options, self._listing, [row])
