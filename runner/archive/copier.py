"""Copy finished runs from the ledger to the archive.

A batch is written in one transaction and then marked as copied in the ledger. If the copier is killed in between, the
batch is copied again, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from runner.archive.rows import LOG_BYTES, Row, row_of
from runner.archive.store import Archive
from runner.errors import ArchiveMismatch, ArchiveUnavailable
from runner.ledger.store import Store
from runner.ledger.unarchived import (
    OtherArchive,
    begin_copying,
    copy_again,
    drop_forgotten,
    forgotten_ids,
    ledger_id,
    next_ids,
    note_archived,
    read_finished,
    step_ids,
)

PORTION = 500
"""The maximum number of runs in one transaction."""
PORTION_BYTES = 8 * 1024**2
"""The size (bytes) after which a batch ends."""

FORGOTTEN_SECONDS = 600.0
"""Seconds after which no copier can still hold a run that it read before the run was forgotten."""


@dataclass(slots=True)
class Copied:
    """The outcome of a pass: the number of copied runs (step runs included), and the database's refusals by run id."""

    runs: int = 0
    removed: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    stopped: bool = False


@dataclass(slots=True)
class _Portion:
    rows: list[Row] = field(default_factory=list)
    bytes: int = 0

    def add(self, row: Row, size: int) -> None:
        self.rows.append(row)
        self.bytes += size

    @property
    def full(self) -> bool:
        return len(self.rows) >= PORTION or self.bytes >= PORTION_BYTES


class Copier:
    """Copies the runs of one project.

    Args:
        store: the ledger.
        archive: the database.
    """

    def __init__(self, store: Store, archive: Archive) -> None:
        self._store = store
        self._archive = archive
        self._namespace = store.namespace
        self._identity: str | None = None
        self._ledger: str | None = None
        self._removed_until = 0.0

    def begin(self, *, again: bool = False) -> None:
        """Migrate the database to this version's schema, and record in the ledger that it is the archive.

        Args:
            again: copy all runs in the ledger again, including those that are marked as copied.

        Raises:
            ArchiveMismatch: the schema is newer, the ledger is copied to another database, or the database has the
                runs of another ledger.
            ArchiveUnavailable: the database cannot be reached, or refuses a statement.
            Unavailable: Redis cannot be reached.
        """
        self._archive.prepare()
        ledger = ledger_id(self._store)
        identity, owner = self._archive.identity(self._namespace, ledger)
        if owner != ledger and not again:
            raise self._archive.other_ledger(self._namespace)
        try:
            begin_copying(self._store, identity, again=again)
        except OtherArchive:
            raise self._other() from None
        if owner != ledger:
            self._archive.take(self._namespace, ledger)
        self._identity, self._ledger = identity, ledger

    def copy(self, goes_on: Callable[[], bool] = lambda: True) -> Copied:
        """Copy all finished runs, calling the given function after each batch to decide whether to go on.

        Raises:
            ArchiveMismatch: see :meth:`begin`.
            ArchiveUnavailable: the database cannot be reached, or refuses a statement.
            Unavailable: Redis cannot be reached.
        """
        if self._identity is None:
            self.begin()
        copied = Copied()
        self._remove_forgotten(copied)
        skip = 0
        while ids := next_ids(self._store, PORTION, skip):
            self._copy(ids, copied)
            skip += sum(run_id in copied.refused for run_id in ids)
            if not goes_on():
                copied.stopped = True
                break
        return copied

    def _copy(self, ids: list[str], copied: Copied) -> None:
        """Copy a batch of runs, with all step runs of flows, and mark them as copied."""
        left = dict.fromkeys(ids)
        portion, done = _Portion(), list[str]()
        for finished in read_finished(self._store, ids, LOG_BYTES):
            run = finished.run
            left.pop(run.id, None)
            if run.steps is not None:
                # Step runs come first: once the flow is marked as copied, nobody looks for them again.
                for row, size in self._rows_below(run.id):
                    portion.add(row, size)
                    if portion.full:
                        self._write(portion, copied)
            portion.add(row_of(run, finished.log), finished.bytes)
            done.append(run.id)
            if portion.full:
                self._write(portion, copied)
                self._note(done, copied)
                done = []
        self._write(portion, copied)
        # The remaining runs have no readable record, so there is nothing to copy.
        self._note([*done, *left], copied)

    def _rows_below(self, flow: str) -> Iterator[tuple[Row, int]]:
        """Yield the rows of the step runs of a flow, including those of its subflows."""
        first = 0
        while ids := step_ids(self._store, flow, first, PORTION):
            first += len(ids)
            for finished in read_finished(self._store, ids, LOG_BYTES):
                if finished.run.steps is not None:
                    yield from self._rows_below(finished.run.id)
                yield row_of(finished.run, finished.log), finished.bytes

    def _write(self, portion: _Portion, copied: Copied) -> None:
        rows = portion.rows
        portion.rows, portion.bytes = [], 0
        try:
            self._archive.put(self._namespace, rows, self._ledger)
            copied.runs += len(rows)
        except ArchiveUnavailable as error:
            from runner.archive.translation import refused_rows  # an extra: it imports SQLAlchemy

            if not refused_rows(error.__cause__):
                raise
            for row in rows:
                try:
                    self._archive.put(self._namespace, [row], self._ledger)
                    copied.runs += 1
                except ArchiveUnavailable as refused:
                    if not refused_rows(refused.__cause__):
                        raise
                    copied.refused[row["id"]] = refused.message

    def _note(self, ids: list[str], copied: Copied) -> None:
        assert self._identity is not None
        try:
            forgotten = note_archived(
                self._store, self._identity, [run_id for run_id in ids if run_id not in copied.refused]
            )
        except OtherArchive:
            # Another process has begun to copy to another database, or Redis has lost data. Start again.
            self._identity = None
            self.begin()
            return
        if forgotten:
            copied.removed += self._archive.remove(self._namespace, forgotten)

    def _remove_forgotten(self, copied: Copied) -> None:
        """Remove forgotten runs: at once, and again when no copier can still hold them."""
        while found := forgotten_ids(self._store, after=self._removed_until):
            self._remove([run_id for run_id, _ in found], copied)
            self._removed_until = found[-1][1]
        until = (self._store.now() - FORGOTTEN_SECONDS) * 1000
        while found := forgotten_ids(self._store, until=until):
            ids = [run_id for run_id, _ in found]
            self._remove(ids, copied)
            drop_forgotten(self._store, ids)

    def _remove(self, ids: list[str], copied: Copied) -> None:
        copied.removed += self._archive.remove(self._namespace, ids)
        # Another copier may just have written a run that was submitted again with such an id.
        copy_again(self._store, ids)

    def _other(self) -> ArchiveMismatch:
        return ArchiveMismatch(
            f"the runs of {self._namespace} are copied to another database than {self._archive.name}",
            hint="correct archive_url; or, if this database takes its place: runner archive --again",
        )
