"""Whoever copies all the time says once what is wrong, tries again, and lets others copy meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import event

from runner.archive import packages
from runner.archive.follow import COPY_SECONDS, Follower
from runner.archive.migrations import VERSION
from runner.archive.reader import Reader
from runner.archive.store import Archive
from runner.errors import UsageError
from runner.ledger.ledger import Ledger
from runner.ledger.unarchived import read_backlog
from runner.model.run import State
from tests.support.bench import Bench
from tests.support.postgres import Postgres
from tests.support.servers import free_port

Make = Callable[..., Follower]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def make(bench: Bench, told: list[str]) -> Iterator[Make]:
    made = []

    def follower(url: str, name: str = "w1") -> Follower:
        settings = replace(bench.ledger.settings, archive_url=url)
        made.append(Follower(lambda: Ledger.open(settings), name, told.append))
        return made[-1]

    yield follower
    for opened in made:
        opened.close()


def knows(bench: Bench, url: str, run_id: str) -> bool:
    archive = Archive.open(url)
    try:
        return Reader(archive, bench.ledger.namespace).get(run_id) is not None
    finally:
        archive.close()


def test_one_at_a_time_copies(bench: Bench, make: Make, archive_url: str) -> None:
    first, second = make(archive_url), make(archive_url, "w2")
    assert first.step() == COPY_SECONDS
    assert second.step() > COPY_SECONDS
    run, _ = bench.end(State.SUCCESS)
    second.step()
    assert not knows(bench, archive_url, run.id)
    assert read_backlog(bench.ledger).copier == "w1"
    first.close()
    assert second.step() == COPY_SECONDS
    assert knows(bench, archive_url, run.id)
    assert read_backlog(bench.ledger).copier == "w2"


def test_one_that_is_silent_is_followed_by_another(bench: Bench, make: Make, archive_url: str) -> None:
    assert make(archive_url).step() == COPY_SECONDS
    bench.ledger.client.pexpire(bench.ledger.keys.archiver, 1)
    bench.wait_until(lambda: read_backlog(bench.ledger).copier is None)
    assert make(archive_url, "w2").step() == COPY_SECONDS


def test_one_that_cannot_reach_the_database_lets_another_try(
    bench: Bench, make: Make, archive_url: str, told: list[str]
) -> None:
    away = make(f"postgresql://u:geheim@127.0.0.1:{free_port()}/x")
    pauses = [away.step() for _ in range(3)]
    assert pauses == sorted(pauses)
    assert len(told) == 1
    assert told[0].startswith("finished runs are not copied: the archive postgresql://u:***@127.0.0.1")
    assert make(archive_url, "w2").step() == COPY_SECONDS


def test_a_database_that_restarts_is_waited_for(
    bench: Bench, make: Make, postgres_url: str, postgres_server: Postgres, told: list[str]
) -> None:
    name = postgres_url.rpartition("/")[2]
    follower = make(postgres_url)
    first, _ = bench.end(State.SUCCESS)
    follower.step()
    # As the server does when it stops: it cuts off its clients, and lets nobody in.
    postgres_server.ask(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres_server.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    second, _ = bench.end(State.SUCCESS)
    assert follower.step() >= 2.0
    assert follower.step() >= 2.0
    assert [message[:29] for message in told[1:]] == ["finished runs are not copied:"] * (len(told) - 1)
    postgres_server.ask(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert follower.step() == COPY_SECONDS
    assert told[-1] == "finished runs are copied again"
    assert knows(bench, postgres_url, first.id)
    assert knows(bench, postgres_url, second.id)


def test_a_database_that_takes_no_writes_is_waited_for(
    bench: Bench, make: Make, postgres_url: str, postgres_server: Postgres, told: list[str]
) -> None:
    name = postgres_url.rpartition("/")[2]
    make(postgres_url).step()
    postgres_server.ask(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    run, _ = bench.end(State.SUCCESS)
    told.clear()
    follower = make(postgres_url)
    follower.step()
    assert "cannot execute INSERT in a read-only transaction; that server is a standby" in told[-1]
    postgres_server.ask(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    # Connections that are open keep it.
    postgres_server.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    follower.step()
    assert knows(bench, postgres_url, run.id)


def test_a_full_disk_is_waited_for(bench: Bench, make: Make, tmp_path: Path, told: list[str]) -> None:
    url = f"sqlite:///{tmp_path}/archive.db"
    follower = make(url)
    follower.step()
    archive = follower._archive
    assert archive is not None
    full = [True]

    def limit(connection: object) -> None:
        pages = 1 if full[0] else 1_000_000
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]

    event.listen(archive.engine, "begin", limit)
    runs = [bench.end(State.SUCCESS)[0] for _ in range(3)]
    for run in runs:
        bench.ledger.client.hset(bench.ledger.keys.run(run.id), "submitted_by", "x" * 20_000)
    follower.step()
    assert "is full" in told[-1]
    assert "free space on the database's disk" in told[-1]
    full[0] = False
    follower.step()
    assert all(knows(bench, url, run.id) for run in runs)


def test_a_newer_schema_is_left_alone(bench: Bench, make: Make, archive_url: str, told: list[str]) -> None:
    archive = Archive.open(archive_url)
    archive.prepare()
    with archive.writing() as connection:
        connection.exec_driver_sql(f"UPDATE runner_schema SET version = {VERSION + 1}")
    run, _ = bench.end(State.SUCCESS)
    follower = make(archive_url)
    assert follower.step() > COPY_SECONDS
    assert f"has version {VERSION + 1} of the archive's schema" in told[-1]
    with archive.writing() as connection:
        connection.exec_driver_sql(f"UPDATE runner_schema SET version = {VERSION}")
    archive.close()
    follower.step()
    assert knows(bench, archive_url, run.id)


def test_redis_that_is_away_is_waited_for(bench: Bench, archive_url: str, told: list[str]) -> None:
    away = replace(bench.ledger.settings, redis_url=f"redis://127.0.0.1:{free_port()}/0", archive_url=archive_url)
    follower = Follower(lambda: Ledger.open(away), "w1", told.append)
    assert follower.step() >= 2.0
    assert "finished runs are not copied" in told[0]
    follower.close()


def test_a_missing_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "psycopg" else True)
    packages.require_packages("sqlite:////x.db")
    with pytest.raises(UsageError, match=r"psycopg is missing") as caught:
        packages.require_packages("postgresql://h/d")
    assert caught.value.hint == 'pip install "celery-runner[archive]"'
