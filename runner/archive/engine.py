"""SQLAlchemy's engine for the archive, with what differs between databases."""

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
"""How long to wait for a connection to PostgreSQL, and for a lock of SQLite."""
ANSWER_SECONDS = 30
"""How long PostgreSQL may take for one statement before it is given up."""


def make_engine(url: str) -> Engine:
    """Return an engine for a canonical ``archive_url``. It tests a connection that was idle before it uses it.

    It creates no file for SQLite.

    Raises:
        InvalidSettings: the URL has an option that the driver does not know.
    """
    file = sqlite_file(url)
    if file is None:
        return _postgresql(url)
    # One that this user may not write to is opened all the same, to read.
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
        # A server that vanishes without a word is noticed in this time (ms).
        "tcp_user_timeout": ANSWER_SECONDS * 1000,
    }
    own = {name: value for name, value in options.items() if name not in address.query}
    return create_engine(address, connect_args=own, pool_pre_ping=True, pool_size=2)


def insert(table: Table, engine: Engine) -> Any:
    """Return an INSERT that knows ``ON CONFLICT``."""
    return (postgresql if engine.dialect.name == "postgresql" else sqlite).insert(table)


def _quoted(path: str) -> str:
    # What means something in the URI of a file.
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _settle(connection: Any, record: object) -> None:  # noqa: ARG001
    """Have sqlite3 begin no transactions by itself, and keep what is committed when the host loses power."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("runner_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
