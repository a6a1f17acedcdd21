"""The steps make the tables that the code reads and writes, once, whoever comes first."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import inspect

from runner.archive.migrations import DIALECTS, VERSION, migrate, statements
from runner.archive.schema import METADATA
from runner.archive.store import Archive
from runner.errors import ArchiveMismatch, ArchiveUnavailable
from tests.support.archives import NAMESPACE


def described(archive: Archive) -> dict[str, Any]:
    """Return the columns, keys, and indexes of a database."""
    found = inspect(archive.engine)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"]) for column in found.get_columns(table)
            },
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "indexes": {
                index["name"]: (index["column_names"], bool(index["dialect_options"]))
                for index in found.get_indexes(table)
                # SQLite makes one for each key.
                if not str(index["name"]).startswith("sqlite_")
            },
        }
        for table in found.get_table_names()
    }


def test_the_steps_make_the_tables_of_the_schema(archive: Archive) -> None:
    by_steps = described(archive)
    METADATA.drop_all(archive.engine)
    METADATA.create_all(archive.engine)
    by_schema = described(archive)
    assert by_schema == by_steps
    assert set(by_steps) == {"runner_runs", "runner_archive", "runner_schema"}


def test_a_second_time_nothing_is_done(archive: Archive) -> None:
    assert archive.version() == VERSION
    archive.prepare()
    assert archive.version() == VERSION


def test_any_number_of_processes_migrate_at_once(archive_url: str) -> None:
    archives = [Archive.open(archive_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda archive: archive.prepare(), archives))
    assert [archive.version() for archive in archives] == [VERSION] * 4
    for archive in archives:
        archive.close()


def test_another_connection_runs_the_same_steps(archive_url: str) -> None:
    """As Django's migrations do."""
    if archive_url.startswith("sqlite"):
        lite = sqlite3.connect(archive_url.removeprefix("sqlite:///"), isolation_level=None)
        lite.execute("BEGIN IMMEDIATE")
        assert migrate(lambda statement: lite.execute(statement).fetchall(), "sqlite") == 0
        lite.execute("COMMIT")
        lite.close()
    else:
        with psycopg.connect(archive_url) as connection:

            def execute(statement: str) -> list[Any]:
                cursor = connection.execute(statement)
                return cursor.fetchall() if cursor.description else []

            assert migrate(execute, "postgresql") == 0
    archive = Archive.open(archive_url)
    assert archive.version() == VERSION
    archive.prepare()
    assert archive.identity(NAMESPACE, "a") == archive.identity(NAMESPACE, "b")
    archive.close()


def test_what_broke_off_leaves_nothing(archive_url: str) -> None:
    archive = Archive.open(archive_url)
    if archive_url.startswith("sqlite"):
        Path(archive_url.removeprefix("sqlite:///")).touch()

    class Killed(Exception):
        pass

    def break_off() -> None:
        with archive.writing() as connection:
            connection.exec_driver_sql("CREATE TABLE runner_schema (version INTEGER NOT NULL)")
            for statement in statements(1, archive.engine.name)[:3]:
                connection.exec_driver_sql(statement)
            raise Killed

    with pytest.raises(Killed):
        break_off()
    assert archive.version() == 0
    archive.prepare()
    assert archive.version() == VERSION
    archive.close()


def test_a_newer_schema_is_refused_and_left_as_it_is(archive: Archive) -> None:
    with archive.writing() as connection:
        connection.exec_driver_sql(f"UPDATE runner_schema SET version = {VERSION + 1}")
    with pytest.raises(ArchiveMismatch, match=f"version {VERSION + 1} of the archive's schema") as caught:
        archive.prepare()
    assert caught.value.exit_code == 69
    assert caught.value.hint == "update the runner here"
    assert archive.version() == VERSION + 1


def test_every_step_notes_its_version() -> None:
    for dialect in DIALECTS:
        for version in range(1, VERSION + 1):
            assert statements(version, dialect)[-1] == f"INSERT INTO runner_schema (version) VALUES ({version})"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("not a database, but longer than the head of one" * 10)
    archive = Archive.open(f"sqlite:///{tmp_path}/x.db")
    with pytest.raises(ArchiveUnavailable, match=r"x\.db cannot be used: file is not a database") as caught:
        archive.prepare()
    assert caught.value.hint == "another file has that name: correct archive_url"
    archive.close()


def test_a_new_file_is_for_this_user_alone(tmp_path: Path) -> None:
    archive = Archive.open(f"sqlite:///{tmp_path}/a%b?c.db")
    archive.prepare()
    archive.close()
    [made] = [path for path in tmp_path.iterdir() if path.suffix == ".db"]
    assert made.name == "a%b?c.db"
    assert made.stat().st_mode & 0o777 == 0o600
