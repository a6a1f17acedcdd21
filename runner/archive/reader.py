"""Reads one project's runs in the archive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Text, func, literal, select, tuple_
from sqlalchemy.exc import DBAPIError

from runner.archive.rows import read_log, run_of
from runner.archive.schema import ARCHIVE, RUNS, UtcTime
from runner.archive.store import Archive
from runner.errors import ArchiveUnavailable, UsageError
from runner.model.log_line import LogLine
from runner.model.run import Run, State
from runner.model.run_query import RunQuery

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Copied:
    """How much of a project was copied into the archive, and when that happened last.

    ``identity`` is what its ledger knows the database by; None before anything was copied.
    """

    runs: int = 0
    at: datetime | None = None
    identity: str | None = None


class Reader:
    """Reads the runs of one namespace. A database without our tables, or without a file, reads as an empty archive.

    Every method raises :class:`~runner.errors.ArchiveUnavailable` if the database cannot be reached.
    """

    def __init__(self, archive: Archive, namespace: str) -> None:
        self._archive = archive
        self._namespace = namespace

    def get(self, run_id: str) -> Run | None:
        """Return a run by its full id; None if the archive does not know it."""
        query = self._select(RUNS.c.document).where(RUNS.c.id == run_id)
        found: list[str] = self._ask(lambda: self._scalars(query), [])
        return run_of(found[0]) if found else None

    def log(self, run_id: str) -> list[LogLine]:
        """Return the end of a run's log."""
        query = self._select(RUNS.c.log).where(RUNS.c.id == run_id)
        found: list[str] = self._ask(lambda: self._scalars(query), [])
        return read_log(found[0]) if found else []

    def find(self, prefix: str, limit: int = 3) -> list[str]:
        """Return the first ids that begin with ``prefix``, in their order."""
        query = self._select(RUNS.c.id).where(RUNS.c.id >= prefix, RUNS.c.id < prefix + "\U0010ffff")
        return self._ask(lambda: self._scalars(query.order_by(RUNS.c.id).limit(limit)), [])

    def page(self, query: RunQuery, *, limit: int, cursor: str | None = None) -> tuple[list[Run], str | None]:
        """Return up to ``limit`` runs that fit, in order of submission, and the cursor of the next page.

        Raises:
            UsageError: the cursor is none, or there are no pages.
        """
        if query.sort == "longest":
            raise UsageError("sort longest has no pages", hint="use until to look at older runs")
        place = tuple_(RUNS.c.submitted_at, RUNS.c.id)
        asked = (
            self._select(RUNS.c.document, RUNS.c.submitted_at, RUNS.c.id).where(*self._conditions(query)).limit(limit)
        )
        if cursor is not None:
            at = tuple_(*_read_cursor(cursor))
            asked = asked.where(place > at if query.sort == "oldest" else place < at)
        if query.sort == "oldest":
            asked = asked.order_by(RUNS.c.submitted_at, RUNS.c.id)
        else:
            asked = asked.order_by(RUNS.c.submitted_at.desc(), RUNS.c.id.desc())

        def ask() -> list[Any]:
            with self._archive.reading() as connection:
                return list(connection.execute(asked))

        found: list[Any] = self._ask(ask, [])
        last = found[-1] if len(found) == limit else None
        return [run_of(each.document) for each in found], write_cursor(last.submitted_at, last.id) if last else None

    def stats(self, job: str | None = None) -> dict[str, dict[State, int]]:
        """Return the number of runs in each state, by job; step runs are left out."""
        query = self._select(RUNS.c.job, RUNS.c.state, func.count()).where(RUNS.c.flow.is_(None))
        if job is not None:
            query = query.where(RUNS.c.job == job)
        counted: dict[str, dict[State, int]] = {}

        def ask() -> dict[str, dict[State, int]]:
            with self._archive.reading() as connection:
                for name, state, number in connection.execute(query.group_by(RUNS.c.job, RUNS.c.state)):
                    counted.setdefault(name, {})[State(state)] = number
            return counted

        return self._ask(ask, {})

    def copied(self) -> Copied:
        """Return how much was copied."""

        def ask() -> Copied:
            query = select(ARCHIVE).where(ARCHIVE.c.namespace == self._namespace)
            with self._archive.reading() as connection:
                found = connection.execute(query).one_or_none()
            return Copied(found.copied, found.copied_at, found.identity) if found else Copied()

        return self._ask(ask, Copied())

    def _conditions(self, query: RunQuery) -> list[ColumnElement[bool]]:
        wanted: list[ColumnElement[bool]] = []
        for column, value in ((RUNS.c.job, query.job), (RUNS.c.flow, query.flow), (RUNS.c.reason, query.reason)):
            if value is not None:
                wanted.append(column == value)
        if query.state:
            wanted.append(RUNS.c.state.in_([str(each) for each in query.state]))
        if query.since is not None:
            wanted.append(RUNS.c.submitted_at >= datetime.fromtimestamp(query.since, UTC))
        if query.until is not None:
            wanted.append(RUNS.c.submitted_at <= datetime.fromtimestamp(query.until, UTC))
        if query.flow is None and query.step is None and not query.steps:
            wanted.append(RUNS.c.flow.is_(None))
        return wanted

    def _select(self, *columns: Any) -> Any:
        return select(*columns).where(RUNS.c.namespace == self._namespace)

    def _scalars(self, query: Any) -> list[str]:
        with self._archive.reading() as connection:
            return list(map(str, connection.scalars(query)))

    def _ask(self, ask: Callable[[], T], empty: T) -> T:
        try:
            return ask()
        except ArchiveUnavailable as error:
            if isinstance(error.__cause__, DBAPIError) and self._is_empty():
                return empty
            raise

    def _is_empty(self) -> bool:
        try:
            return not self._archive.exists() or not self._archive.version()
        except ArchiveUnavailable:
            return False


def write_cursor(submitted_at: datetime, run_id: str) -> str:
    """Return the cursor that leads to what follows a run; it has the form of the ledger's cursors."""
    return f"{round(submitted_at.timestamp() * 1000)}:{run_id}"


def _read_cursor(cursor: str) -> tuple[Any, Any]:
    at, colon, run_id = cursor.partition(":")
    if not (colon and run_id and at.isascii() and at.isdigit() and len(at) < 16):
        raise UsageError(f"{cursor!r} is not a cursor", hint="give the one that the page before ended with")
    return literal(datetime.fromtimestamp(int(at) / 1000, UTC), UtcTime), literal(run_id, Text)
