"""SQLAlchemy's engine for the archive, and the differences between databases."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from runner.errors import InvalidSettings
from runner.settings.archive_url import sqlite_file
from runner.settings.redis_url import mask

CONNECT_SECONDS = 5
"""Timeout of connecting to PostgreSQL, and of waiting for a lock in SQLite (seconds)."""
ANSWER_SECONDS = 30
"""Timeout of one statement in PostgreSQL (seconds)."""


def make_engine(url: str) -> Engine:
    """Return an engine for a canonical ``archive_url``. The engine tests idle connections before using them.

    It does not create the file of SQLite.

    Raises:
        InvalidSettings: the driver does not know an option in the URL.
    """
    file = sqlite_file(url)
    if file is None:
        return _postgresql(url)
    # A file that this user may not write to is still opened for reading.
    address = URL.create("sqlite+pysqlite", database=f"file:{_quoted(str(file))}", query={"uri": "true", "mode": "rw"})
    engine = create_engine(address, connect_args={"timeout": CONNECT_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _settle)
    event.listen(engine, "begin", _begin)
    return engine


def _postgresql(url: str) -> Engine:
    try:
        address = make_url(url).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise InvalidSettings(
            f"archive_url: {mask(url)} cannot be read", hint="write postgresql://HOST/DATABASE"
        ) from None
    options: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "runner",
        "options": f"-c statement_timeout={ANSWER_SECONDS * 1000}",
        # A server that disappears without closing the connection is noticed after this time (ms).
        "tcp_user_timeout": ANSWER_SECONDS * 1000,
    }
    own = {name: value for name, value in options.items() if name not in address.query}
    return create_engine(address, connect_args=own, pool_pre_ping=True, pool_size=2)


def insert(table: Table, engine: Engine) -> Any:
    """Return an INSERT that supports ``ON CONFLICT``."""
    return (postgresql if engine.dialect.name == "postgresql" else sqlite).insert(table)


def _quoted(path: str) -> str:
    # Characters with a meaning in the URI of a file.
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _settle(connection: Any, record: object) -> None:  # noqa: ARG001
    """Stop sqlite3 from beginning transactions by itself, and make commits survive a power failure."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("runner_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
