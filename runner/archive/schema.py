"""The tables of the archive in SQLAlchemy Core; ``migrations.py`` creates them.

Times are in UTC. JSON is stored as text, in the form that ``--json`` prints, so databases need no JSON type.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Integer, MetaData, Table, Text, TypeDecorator
from sqlalchemy.engine import Dialect

METADATA = MetaData()


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC, also in databases that store no offset."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_ID = Text().with_variant(Text(collation="C"), "postgresql")

SCHEMA = Table("runner_schema", METADATA, Column("version", Integer, nullable=False))

ARCHIVE = Table(
    "runner_archive",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("identity", Text, nullable=False),
    Column("ledger", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("copied_at", UtcTime),
    Column("copied", BigInteger, nullable=False),
)
"""One row per project: the ledger's id for the database, the id of the ledger, and the number of copied runs."""

RUNS = Table(
    "runner_runs",
    METADATA,
    Column("namespace", Text, primary_key=True),
    Column("id", _ID, primary_key=True),
    Column("job", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text),
    Column("queue", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("worker", Text),
    Column("trigger", Text, nullable=False),
    Column("submitted_by", Text),
    Column("key", Text),
    Column("slot", UtcTime),
    Column("tags", Text, nullable=False),
    Column("params", Text, nullable=False),
    Column("result", Text),
    Column("result_expired", Boolean, nullable=False),
    Column("error", Text),
    Column("log", Text, nullable=False),
    Column("flow", Text),
    Column("step", Text),
    Column("item", BigInteger),
    Column("rerun_of", Text),
    Column("hook_of", Text),
    Column("backfill", Text),
    Column("attempts", BigInteger, nullable=False),
    Column("retries", BigInteger, nullable=False),
    Column("losses", BigInteger, nullable=False),
    Column("submitted_at", UtcTime, nullable=False),
    Column("eta", UtcTime),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime, nullable=False),
    Column("took_ms", BigInteger),
    Column("document", Text, nullable=False),
    Column("archived_at", UtcTime, nullable=False),
)
"""One row per finished run. Lists are in order of submission, as in the ledger."""


def _index(name: str, *columns: str, where: Any = None) -> None:
    Index(name, *(RUNS.c[column] for column in columns), sqlite_where=where, postgresql_where=where)


_WHOLE, _STEP = RUNS.c.flow.is_(None), RUNS.c.flow.is_not(None)
_index("runner_runs_newest", "namespace", "submitted_at", "id", where=_WHOLE)
_index("runner_runs_steps", "namespace", "submitted_at", "id", where=_STEP)
# No index has the runs of several states in order, so each state is read separately.
_index("runner_runs_job", "namespace", "job", "state", "submitted_at", "id", where=_WHOLE)
_index("runner_runs_step_job", "namespace", "job", "state", "submitted_at", "id", where=_STEP)
_index("runner_runs_state", "namespace", "state", "submitted_at", "id", where=_WHOLE)
_index("runner_runs_flow", "namespace", "flow", "submitted_at", "id", where=_STEP)
