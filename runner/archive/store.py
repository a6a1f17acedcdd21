"""The connection to the archive's database: opening, migrating, and writing. ``reader.py`` reads."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runner.archive.packages import lacking, require_packages
from runner.errors import ArchiveMismatch
from runner.settings.archive_url import sqlite_file
from runner.settings.redis_url import mask

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from runner.archive.rows import Row

OTHER_LEDGER = (
    "choose another namespace or archive_url for this one; or, if it takes the place of the other, or has lost its "
    "data: runner archive --again"
)
_AT_ONCE = 500
"""The maximum number of ids in one statement."""


class Archive:
    """The archive's database. It connects at the first use, and again after a lost connection.

    Every method raises :class:`~runner.errors.ArchiveUnavailable` if the database cannot be reached, or
    refuses a statement.
    """

    def __init__(self, engine: Engine, url: str) -> None:
        self.engine = engine
        self.url = url

    @classmethod
    def open(cls, url: str) -> Self:
        """Return the archive at ``archive_url``, as it is in the settings, without connecting.

        Raises:
            UsageError: a package is missing, or cannot be imported.
        """
        require_packages(url)
        try:
            from runner.archive.engine import make_engine  # an extra: most projects have no archive

            return cls(make_engine(url), url)
        except ImportError as error:
            # For example psycopg without libpq.
            raise lacking(" ".join(str(error).split())) from error

    @property
    def name(self) -> str:
        """Return the URL without its password."""
        return mask(self.url)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    # -- the schema

    def exists(self) -> bool:
        """Return whether the database exists; False only for SQLite, whose file the first writer creates."""
        file = sqlite_file(self.url)
        return file is None or file.exists()

    def version(self) -> int:
        """Return the version of the database's schema; 0 without the archive's tables."""
        from sqlalchemy import inspect, select  # an extra: as in open

        from runner.archive.schema import SCHEMA

        with self.reading() as connection:
            if not inspect(connection).has_table(SCHEMA.name):
                return 0
            return connection.scalar(select(SCHEMA.c.version)) or 0

    def prepare(self) -> None:
        """Migrate the schema to this version. Any number of processes may do so at the same time.

        Raises:
            ArchiveMismatch: the schema is newer than this version.
        """
        from runner.archive.migrations import VERSION, migrate  # start-up time: few processes write

        file = sqlite_file(self.url)
        if file is not None:
            _create(file)
        version = self.version()
        if version < VERSION:
            if file is not None:
                self._let_read_while_written()
            with self.writing() as connection:
                version = migrate(_executing(connection), self.engine.dialect.name)
        self._refuse_newer(version)

    def _let_read_while_written(self) -> None:
        """Turn on SQLite's write-ahead log, so that readers and the writer do not wait for each other."""
        with self._reaching():
            connection = self.engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()

    def _refuse_newer(self, version: int) -> None:
        from runner.archive.migrations import VERSION  # start-up time: as above

        if version > VERSION:
            raise ArchiveMismatch(
                f"{self.name} has version {version} of the archive's schema, and this runner knows version {VERSION}",
                hint="update the runner here",
            )

    def identity(self, namespace: str, ledger: str) -> tuple[str, str]:
        """Return the ledger's id for this database and the id of the ledger, recording both at the first call.

        Args:
            namespace: the namespace of the project.
            ledger: the id to record if the database has no runs of the project.
        """
        from sqlalchemy import select  # an extra: as in open

        from runner.archive.engine import insert
        from runner.archive.schema import ARCHIVE

        with self.writing() as connection:
            known = select(ARCHIVE.c.identity, ARCHIVE.c.ledger).where(ARCHIVE.c.namespace == namespace)
            found = connection.execute(known).one_or_none()
            if found is None:
                made = {
                    "namespace": namespace,
                    "identity": uuid.uuid4().hex,
                    "ledger": ledger,
                    "created_at": datetime.now(UTC),
                    "copied": 0,
                }
                connection.execute(insert(ARCHIVE, self.engine).values(made).on_conflict_do_nothing())
                found = connection.execute(known).one()
            return found.identity, found.ledger

    def take(self, namespace: str, ledger: str) -> None:
        """Record that the runs of a project come from this ledger from now on."""
        from sqlalchemy import update  # an extra: as in open

        from runner.archive.schema import ARCHIVE

        with self.writing() as connection:
            connection.execute(update(ARCHIVE).where(ARCHIVE.c.namespace == namespace).values(ledger=ledger))

    # -- writing

    def put(self, namespace: str, rows: Sequence[Row], ledger: str | None = None) -> None:
        """Insert or replace rows in one transaction. A result that has expired since the first copy stays.

        Raises:
            ArchiveMismatch: the runs come from another ledger than ``ledger`` now.
        """
        from sqlalchemy import update  # an extra: as in open

        from runner.archive.engine import insert
        from runner.archive.schema import ARCHIVE, RUNS

        if not rows:
            return
        now = datetime.now(UTC)
        statement = insert(RUNS, self.engine)
        new = statement.excluded
        expired = new.result_expired & ~RUNS.c.result_expired & (new.finished_at == RUNS.c.finished_at)
        upsert = statement.on_conflict_do_update(
            index_elements=[RUNS.c.namespace, RUNS.c.id],
            set_={column.name: new[column.name] for column in RUNS.c if not column.primary_key},
            where=~expired,
        )
        # Sorted, so that two processes that write the same rows do not deadlock.
        values = [
            {**row, "namespace": namespace, "archived_at": now} for row in sorted(rows, key=lambda row: row["id"])
        ]
        changes = {"copied_at": now, "copied": ARCHIVE.c.copied + len(rows)}
        with self.writing() as connection:
            connection.execute(upsert, values)
            mine = [ARCHIVE.c.namespace == namespace, *([ARCHIVE.c.ledger == ledger] if ledger is not None else [])]
            if connection.execute(update(ARCHIVE).where(*mine).values(changes)).rowcount == 0 and ledger is not None:
                raise self.other_ledger(namespace)

    def other_ledger(self, namespace: str) -> ArchiveMismatch:
        """Return the error for a database with the runs of another ledger."""
        return ArchiveMismatch(f"{self.name} has the runs of {namespace} from another Redis", hint=OTHER_LEDGER)

    def remove(self, namespace: str, ids: Sequence[str]) -> int:
        """Remove runs with their step runs; return the number of removed rows."""
        from sqlalchemy import delete, select  # an extra: as in open

        from runner.archive.schema import RUNS

        gone = 0
        with self.writing() as connection:
            level = list(ids)
            while level:
                below: list[str] = []
                for first in range(0, len(level), _AT_ONCE):
                    portion = level[first : first + _AT_ONCE]
                    steps = select(RUNS.c.id).where(RUNS.c.namespace == namespace, RUNS.c.flow.in_(portion))
                    below += connection.scalars(steps)
                    removed = delete(RUNS).where(RUNS.c.namespace == namespace, RUNS.c.id.in_(portion))
                    gone += connection.execute(removed).rowcount
                level = below
        return gone

    # -- transactions

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a read transaction."""
        with self._reaching(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a write transaction that is committed at the end. In SQLite, it holds the write lock at once."""
        with self._reaching(), self.engine.connect() as connection:
            connection.execution_options(runner_writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        from sqlalchemy.exc import SQLAlchemyError  # an extra: as in open

        try:
            yield
        except SQLAlchemyError as error:
            from runner.archive.translation import translate  # start-up time: most things go well

            raise translate(error, self.name) from error


def _create(file: Path) -> None:
    """Create a database's file that only this user can read: params and results may be private."""
    with suppress(OSError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _executing(connection: Connection) -> Callable[[str], Sequence[Sequence[Any]]]:
    def execute(statement: str) -> Sequence[Sequence[Any]]:
        result = connection.exec_driver_sql(statement)
        return [tuple(row) for row in result] if result.returns_rows else []

    return execute
