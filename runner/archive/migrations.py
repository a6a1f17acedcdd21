"""The migrations of the archive's schema, as SQL for each type of database.

A migration never changes after its release. ``schema.py`` has the resulting tables, and a test compares the two. Django
runs the same migrations through its own connection with :func:`migrate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Execute = Callable[[str], Sequence[Sequence[Any]]]
"""A function that executes one statement in the current transaction and returns its rows, if it has any."""

_TYPES = {
    # Ids are ordered by bytes, as in Redis.
    "postgresql": {"time": "TIMESTAMP WITH TIME ZONE", "id": 'TEXT COLLATE "C"', "flag": "BOOLEAN"},
    "sqlite": {"time": "DATETIME", "id": "TEXT", "flag": "BOOLEAN"},
}

DIALECTS = tuple(_TYPES)

_LOCK = 7_265_981_404_512_731
"""The advisory lock in PostgreSQL that a migration holds until the end of its transaction."""

_STEPS: tuple[tuple[str, ...], ...] = (
    (
        """\
CREATE TABLE runner_runs (
    namespace TEXT NOT NULL,
    id {id} NOT NULL,
    job TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    detail TEXT,
    queue TEXT NOT NULL,
    priority INTEGER NOT NULL,
    worker TEXT,
    "trigger" TEXT NOT NULL,
    submitted_by TEXT,
    "key" TEXT,
    slot {time},
    tags TEXT NOT NULL,
    params TEXT NOT NULL,
    result TEXT,
    result_expired {flag} NOT NULL,
    error TEXT,
    log TEXT NOT NULL,
    flow TEXT,
    step TEXT,
    item BIGINT,
    rerun_of TEXT,
    hook_of TEXT,
    backfill TEXT,
    attempts BIGINT NOT NULL,
    retries BIGINT NOT NULL,
    losses BIGINT NOT NULL,
    submitted_at {time} NOT NULL,
    eta {time},
    started_at {time},
    finished_at {time} NOT NULL,
    took_ms BIGINT,
    document TEXT NOT NULL,
    archived_at {time} NOT NULL,
    PRIMARY KEY (namespace, id)
)""",
        "CREATE INDEX runner_runs_newest ON runner_runs (namespace, submitted_at, id) WHERE flow IS NULL",
        "CREATE INDEX runner_runs_steps ON runner_runs (namespace, submitted_at, id) WHERE flow IS NOT NULL",
        "CREATE INDEX runner_runs_job ON runner_runs (namespace, job, state, submitted_at, id) WHERE flow IS NULL",
        "CREATE INDEX runner_runs_step_job ON runner_runs (namespace, job, state, submitted_at, id) "
        "WHERE flow IS NOT NULL",
        "CREATE INDEX runner_runs_state ON runner_runs (namespace, state, submitted_at, id) WHERE flow IS NULL",
        "CREATE INDEX runner_runs_flow ON runner_runs (namespace, flow, submitted_at, id) WHERE flow IS NOT NULL",
        """\
CREATE TABLE runner_archive (
    namespace TEXT NOT NULL,
    identity TEXT NOT NULL,
    ledger TEXT NOT NULL,
    created_at {time} NOT NULL,
    copied_at {time},
    copied BIGINT NOT NULL,
    PRIMARY KEY (namespace)
)""",
    ),
)

VERSION = len(_STEPS)
"""The version of the schema that this code reads and writes."""


def statements(version: int, dialect: str) -> tuple[str, ...]:
    """Return the statements of the migration to ``version``, in order.

    The last statement records the version, so the migration counts once its transaction is committed.

    Args:
        version: from 1 to :data:`VERSION`.
        dialect: ``postgresql`` or ``sqlite``.
    """
    noted = ("DELETE FROM runner_schema", f"INSERT INTO runner_schema (version) VALUES ({int(version)})")  # noqa: S608
    return (*(statement.format(**_TYPES[dialect]) for statement in _STEPS[version - 1]), *noted)


def migrate(execute: Execute, dialect: str) -> int:
    """Migrate the database to :data:`VERSION`, and return its version before. A newer schema is left as it is.

    The caller begins and commits the transaction, which must be IMMEDIATE in SQLite. A second process waits for the
    first and then has nothing to do.
    """
    if dialect == "postgresql":
        execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
    execute("CREATE TABLE IF NOT EXISTS runner_schema (version INTEGER NOT NULL)")
    found = execute("SELECT version FROM runner_schema")
    had = int(found[0][0]) if found else 0
    for version in range(had + 1, VERSION + 1):
        for statement in statements(version, dialect):
            execute(statement)
    return had
