"""Read runs from the archive. The cost of a list depends on the length of its page, not on the number of runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import ColumnElement, Select, Subquery, and_, func, or_, select, tuple_, union_all
from sqlalchemy.exc import DBAPIError, ProgrammingError

from runner._dataclass import dataclass
from runner.archive.rows import read_log, run_of
from runner.archive.schema import ARCHIVE, RUNS
from runner.errors import ArchiveUnavailable
from runner.model.log_line import LogLine
from runner.model.run import FailureReason, Run, State
from runner.model.run_page import Part, Position
from runner.model.run_query import RunQuery

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

    from runner.archive.store import Archive

_READ_AT_ONCE = 500
LATEST = 250_000_000_000_000
"""A time in the year 9892 (Unix ms): no run is later, and every database can store it."""
_ENDED = (State.SUCCESS, State.FAILURE, State.REVOKED)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Copied:
    """The state of the copy of a project: the number of copied runs and the time of the last copy.

    ``identity`` is the ledger's id for the database, and ``ledger`` is the database's id for the ledger; both are None
    before the first copy.
    """

    runs: int = 0
    at: datetime | None = None
    identity: str | None = None
    ledger: str | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """The runs of one namespace.

    Every method raises :class:`~runner.errors.ArchiveUnavailable` if the database does not answer within a timeout.
    """

    archive: Archive
    namespace: str

    # -- by id

    def read(self, ids: Sequence[str]) -> list[Run]:
        """Return the archived runs among ``ids``, in the same order."""

        def read(connection: Connection) -> dict[str, Run]:
            found: dict[str, Run] = {}
            for first in range(0, len(ids), _READ_AT_ONCE):
                wanted = ids[first : first + _READ_AT_ONCE]
                rows = connection.execute(select(RUNS.c.id, RUNS.c.document).where(self.mine, RUNS.c.id.in_(wanted)))
                found |= {row.id: _run(row.document) for row in rows}
            return found

        found = self.ask(read) or {}
        return [found[run_id] for run_id in ids if run_id in found]

    def get(self, run_id: str) -> Run | None:
        """Return a run by its full id; None if it is not archived."""
        return next(iter(self.read([run_id])), None)

    def find(self, prefix: str, most: int = 3) -> list[str]:
        """Return the first ids that begin with ``prefix``, in order."""
        # Ids are ASCII without DEL.
        within = and_(RUNS.c.id >= prefix, RUNS.c.id < f"{prefix}\x7f")
        chosen = select(RUNS.c.id).where(self.mine, within).order_by(RUNS.c.id).limit(most)
        return self.ask(lambda connection: [str(run_id) for run_id in connection.scalars(chosen)]) or []

    def log(self, run_id: str) -> list[LogLine]:
        """Return the last log lines of a run; an empty list if it is not archived."""
        chosen = select(RUNS.c.log).where(self.mine, RUNS.c.id == run_id)
        text: str | None = self.ask(lambda connection: connection.scalar(chosen))
        return read_log(text or "")

    def step_runs(self, flow: str) -> list[Run]:
        """Return the step runs of a flow, in order of submission."""
        chosen = select(RUNS.c.document).where(self.mine, RUNS.c.flow == flow)
        chosen = chosen.order_by(RUNS.c.submitted_at, RUNS.c.id)
        return self.ask(lambda connection: [_run(document) for document in connection.scalars(chosen)]) or []

    # -- lists

    def page(self, query: RunQuery, *, limit: int, after: Position | None = None, look: int = 10_000) -> Part:
        """Return up to ``limit`` matching runs after a position in the list.

        Filters on job, state, time, and flow use an index; the others are checked on at most ``look`` runs.
        """
        plan = _plan(query)
        if plan is None:
            return Part([], None)

        def read(connection: Connection) -> Part:
            if query.sort == "longest":
                return self._longest(connection, self._keys(query, plan, after, look), plan, limit, look)
            if not plan.asks:
                keys = self._keys(query, plan, after, limit + 1)
                return _part(connection.execute(self._whole(keys, query, limit + 1)), limit)
            keys = self._keys(query, plan, after, look)
            fitting = (
                select(keys).where(*plan.others(keys.c)).order_by(*_order(keys.c, query)).limit(limit + 1).subquery()
            )
            part = _part(connection.execute(self._whole(fitting, query, limit + 1)), limit)
            if part.end is not None:
                return part
            looked, end = _extent(connection, keys, query)
            return replace(part, end=end if looked >= look else None, looked_at=looked, cut=looked >= look)

        return self.ask(read) or Part([], None)

    def _keys(self, query: RunQuery, plan: Plan, after: Position | None, most: int) -> Subquery:
        """Return the positions of the first runs that match the filters on job, states, time, and flow.

        This takes one query per index, because no index has the runs of several states in order.
        """
        # The filtered columns are read at once: fetching ten thousand rows by id afterwards would take seconds.
        columns = [RUNS.c.submitted_at, RUNS.c.id, *(RUNS.c[name] for name in plan.asks)]
        position = tuple_(RUNS.c.submitted_at, RUNS.c.id)
        wanted = [self.mine]
        if query.since is not None:
            wanted.append(RUNS.c.submitted_at >= moment(round(query.since * 1000)))
        if query.until is not None:
            wanted.append(RUNS.c.submitted_at <= moment(round(query.until * 1000)))
        if after is not None:
            there: Any = (moment(after.at), after.id)
            wanted.append(position > there if query.sort == "oldest" else position < there)
        branches = [
            select(*columns).where(*wanted, *branch).order_by(*_order(RUNS.c, query)).limit(most).subquery()
            for branch in plan.branches
        ]
        if len(branches) == 1:
            return branches[0]
        together = union_all(*(select(subquery) for subquery in branches)).subquery()
        return select(together).order_by(*_order(together.c, query)).limit(most).subquery()

    def _whole(self, keys: Subquery, query: RunQuery, most: int) -> Select[tuple[datetime, str, str]]:
        """Return the query for the runs at ``keys``."""
        return (
            select(RUNS.c.submitted_at, RUNS.c.id, RUNS.c.document)
            .join(keys, RUNS.c.id == keys.c.id)
            .where(self.mine)
            .order_by(*_order(keys.c, query))
            .limit(most)
        )

    def _longest(self, connection: Connection, keys: Subquery, plan: Plan, limit: int, look: int) -> Part:
        took = func.coalesce(keys.c.took_ms, -1).desc()
        first = select(keys.c.id, keys.c.took_ms).where(*plan.others(keys.c)).order_by(took).limit(limit).subquery()
        chosen = select(RUNS.c.document).join(first, RUNS.c.id == first.c.id).where(self.mine)
        found = connection.scalars(chosen.order_by(func.coalesce(first.c.took_ms, -1).desc()))
        runs = [_run(document) for document in found]
        looked = connection.scalar(select(func.count()).select_from(keys)) or 0
        return Part(runs, None, looked, looked >= look)

    # -- copying

    def copied(self) -> Copied:
        """Return the state of the copy."""

        def read(connection: Connection) -> Copied | None:
            found = connection.execute(select(ARCHIVE).where(ARCHIVE.c.namespace == self.namespace)).one_or_none()
            return Copied(found.copied, found.copied_at, found.identity, found.ledger) if found else None

        return self.ask(read) or Copied()

    # -- queries

    @property
    def mine(self) -> ColumnElement[bool]:
        """Return the condition that a row belongs to this namespace."""
        return RUNS.c.namespace == self.namespace

    def ask(self, question: Callable[[Connection], T]) -> T | None:
        """Return the result of a query; None if the tables or the SQLite file do not exist."""
        try:
            return self._query(question)
        except ArchiveUnavailable as error:
            if isinstance(error.__cause__, DBAPIError) and self._is_empty():
                return None
            if not isinstance(error.__cause__, ProgrammingError) and self.archive.engine.dialect.name != "sqlite":
                raise
        # The first worker has created the tables in between.
        return self._query(question)

    def _query(self, question: Callable[[Connection], T]) -> T:
        with self.archive.reading() as connection:
            return question(connection)

    def _is_empty(self) -> bool:
        try:
            return not self.archive.exists() or not self.archive.version()
        except ArchiveUnavailable:
            return False


def _run(document: str) -> Run:
    return replace(run_of(document), archived=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan for reading a list: the conditions for each index, and the filters that are checked on rows."""

    branches: list[list[ColumnElement[bool]]]
    query: RunQuery
    in_states: tuple[str, ...] = ()
    """The states that are checked on rows."""

    @property
    def asks(self) -> list[str]:
        """The columns that the filters need."""
        query = self.query
        asked: dict[str, object] = {
            "state": self.in_states or None,
            "tags": query.tag,
            "error": query.grep,
            "worker": query.worker,
        }
        asked |= {name: getattr(query, name) for name in _PLAIN}
        asked |= {"took_ms": True if query.sort == "longest" else None}
        return [name for name, value in asked.items() if value is not None]

    def others(self, columns: Any) -> list[ColumnElement[bool]]:
        """Return the conditions that no index supports."""
        query = self.query
        found: list[ColumnElement[bool]] = [
            columns[name] == value for name in _PLAIN if (value := getattr(query, name)) is not None
        ]
        if self.in_states:
            found.append(columns.state.in_(self.in_states))
        if query.worker is not None:
            suffix = columns.worker.endswith(f"@{query.worker}", autoescape=True)
            found.append(or_(columns.worker == query.worker, suffix))
        if query.tag is not None:
            found.append(columns.tags.contains(_json(query.tag), autoescape=True))
        if query.grep is not None:
            held = func.lower(columns.error)
            texts = {_json(spelling)[1:-1] for spelling in spellings(query.grep)}
            lowered = sorted({*map(_ascii_lower, texts), *(text.lower() for text in texts)})
            found += [
                columns.error.is_not(None),
                or_(*(held.contains(spelling, autoescape=True) for spelling in lowered)),
            ]
        return found


_PLAIN = ("reason", "trigger", "key", "backfill", "step")


def _plan(query: RunQuery) -> Plan | None:
    """Return the plan for a query; None if no finished run can match it."""
    possible = set(_ENDED)
    if query.reason is not None:
        possible &= {State.FAILURE} if query.reason in set(FailureReason) else {State.REVOKED}
    if query.grep is not None:
        possible -= {State.SUCCESS}
    states = [str(state) for state in _ENDED if state in possible and (not query.state or state in query.state)]
    if not states:
        return None
    some = len(states) < len(_ENDED)
    if query.flow is not None:
        job = [RUNS.c.job == query.job] if query.job is not None else []
        return Plan([[RUNS.c.flow == query.flow, *job, *([RUNS.c.state.in_(states)] if some else [])]], query)
    wholes = [RUNS.c.flow.is_(None)]
    if query.steps or query.step is not None or "/" in (query.job or ""):
        wholes.append(RUNS.c.flow.is_not(None))
    if query.job is not None:
        mine = RUNS.c.job == query.job
        return Plan([[whole, mine, RUNS.c.state == state] for whole in wholes for state in states], query)
    if some and len(wholes) == 1:
        return Plan([[*wholes, RUNS.c.state == state] for state in states], query)
    # No index covers the states of step runs.
    return Plan([[whole] for whole in wholes], query, tuple(states) if some else ())


def spellings(text: str) -> tuple[str, ...]:
    """Return a text in its possible spellings: as it is, in lower and upper case, and capitalized."""
    return text, text.lower(), text.upper(), text.capitalize()


def _ascii_lower(text: str) -> str:
    # This is how SQLite compares text, and PostgreSQL in the C locale.
    return "".join(char.lower() if char.isascii() else char for char in text)


def _json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _order(columns: Any, query: RunQuery) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    if query.sort == "oldest":
        return columns.submitted_at.asc(), columns.id.asc()
    return columns.submitted_at.desc(), columns.id.desc()


def _part(rows: Any, limit: int) -> Part:
    """Return the page from ``limit`` + 1 rows: the last one only shows that there are more."""
    found = list(rows)
    end = _position(found[limit - 1]) if len(found) > limit else None
    return Part([_run(row.document) for row in found[:limit]], end, min(len(found), limit))


def _extent(connection: Connection, keys: Subquery, query: RunQuery) -> tuple[int, Position | None]:
    """Return the number of examined runs, and the last one."""
    looked = connection.scalar(select(func.count()).select_from(keys)) or 0
    backward = [
        column.desc() if query.sort == "oldest" else column.asc() for column in (keys.c.submitted_at, keys.c.id)
    ]
    last = connection.execute(select(keys).order_by(*backward).limit(1)).first()
    return looked, None if last is None else _position(last)


def _position(row: Any) -> Position:
    return Position(milliseconds(row.submitted_at), row.id)


def milliseconds(time: datetime) -> int:
    """Return the Unix time in ms."""
    return round(time.timestamp() * 1000)


def moment(at: int) -> datetime:
    """Return the datetime for a Unix time in ms."""
    # Exact, unlike a float of seconds.
    seconds, rest = divmod(min(max(at, 0), LATEST), 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)
