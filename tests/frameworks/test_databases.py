"""Connections that frameworks keep to a real PostgreSQL: whole, without a transaction, and never one of the parent.

Django's are closed as ``CONN_MAX_AGE`` says.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.deadline import wait_until
from tests.support.postgres import Postgres, postgres
from tests.support.project import Project
from tests.support.servers import Server

HERE = Path(__file__).parent
OPEN = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'test'"
LEFT = ("atomic", "nested", "autocommit", "begin", "broken", "raise", "cut")


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        server.ask("CREATE TABLE paid (id integer)")
        yield server


@pytest.fixture
def make_bank(
    make_project: Callable[..., Project], redis_server: Server, database: Postgres
) -> Callable[[str], Project]:
    def make(folder: str) -> Project:
        return _bank(make_project(), folder, redis_server, database)

    return make


@pytest.fixture
def bank(make_bank: Callable[[str], Project]) -> Project:
    return make_bank("django_bank")


def _bank(project: Project, folder: str, redis_server: Server, database: Postgres) -> Project:
    shutil.copytree(HERE / folder, project.path, dirs_exist_ok=True)
    project.environment.update(RUNNER_PROJECT=str(project.path), BANK_PORT=str(database.port), BANK_MAX_AGE="0")
    settings = (project.path / "runner.yaml").read_text().replace("env:BANK_RUNS_URL", redis_server.url)
    project.write({"runner.yaml": f"{settings}namespace: {project.namespace}\n"})
    database.ask("DELETE FROM paid")
    return project


def run(project: Project, job: str, *words: str, state: str = "SUCCESS") -> Any:
    done = project.wait_for_state(project.submit(job, *words), "SUCCESS", "FAILURE", deadline=60.0)
    assert done["state"] == state, done["error"]
    return done["result"]


def none_open(database: Postgres) -> None:
    wait_until(lambda: not database.ask(OPEN), 30.0, "no connection is open")


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_connection_is_closed_after_each_run(bank: Project, database: Postgres, pool: str) -> None:
    with bank.worker("-P", pool, concurrency=1):
        first = run(bank, "look")
        none_open(database)
        second = run(bank, "look")
        assert second["process"] == first["process"]
        assert second["backend"] != first["backend"]
        database.restart()
        third = run(bank, "look")
        assert third["process"] == first["process"]
        none_open(database)


@pytest.mark.parametrize("age", ["null", "3600"])
def test_a_connection_that_stays_open(bank: Project, database: Postgres, age: str) -> None:
    bank.environment["BANK_MAX_AGE"] = age
    with bank.worker(concurrency=1):
        first = run(bank, "look")
        second = run(bank, "look")
        assert (second["process"], second["backend"]) == (first["process"], first["backend"])
        # After a restart of the database not even the first run fails.
        database.restart()
        third = run(bank, "look")
        assert third["process"] == first["process"]
        assert run(bank, "look")["backend"] == third["backend"]
        # Nor after somebody has cut it.
        database.ask(f"SELECT pg_terminate_backend({third['backend']})")
        assert run(bank, "look")["process"] == first["process"]


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_a_connection_of_async_code_is_closed_after_each_run(bank: Project, database: Postgres, pool: str) -> None:
    with bank.worker("-P", pool, concurrency=1):
        first = run(bank, "look-async")
        none_open(database)
        database.restart()
        second = run(bank, "look-async")
        assert second["process"] == first["process"]
        none_open(database)


@pytest.mark.parametrize("age", ["0", "null"])
def test_no_transaction_of_async_code_reaches_the_next_run(bank: Project, database: Postgres, age: str) -> None:
    bank.environment["BANK_MAX_AGE"] = age
    with bank.worker(concurrency=1):
        before = run(bank, "look-async")
        for how in LEFT:
            run(bank, "leave-async", "-p", f"how={how}", state="FAILURE" if how in ("raise", "cut") else "SUCCESS")
            database.ask("SELECT 1 FROM paid")  # not locked
            after = run(bank, "look-async")
            assert (after["atomic"], after["autocommit"], after["alone"]) == (False, True, True), how
            assert after["paid"] == (1 if how == "cut" else 0), how
            assert after["process"] == before["process"], how


@pytest.mark.parametrize("age", ["0", "null"])
def test_no_transaction_reaches_the_next_run(bank: Project, database: Postgres, age: str) -> None:
    bank.environment["BANK_MAX_AGE"] = age
    with bank.worker(concurrency=1):
        before = run(bank, "look")
        for how in LEFT:
            run(bank, "leave", "-p", f"how={how}", state="FAILURE" if how in ("raise", "cut") else "SUCCESS")
            database.ask("SELECT 1 FROM paid")  # not locked
            after = run(bank, "look")
            assert (after["atomic"], after["autocommit"], after["alone"]) == (False, True, True), how
            assert after["paid"] == (1 if how == "cut" else 0), how
            assert after["process"] == before["process"], how


@pytest.mark.parametrize("folder", ["django_bank", "flask_bank"])
def test_a_connection_of_the_parent_is_no_childs(
    make_bank: Callable[[str], Project], database: Postgres, folder: str
) -> None:
    bank = make_bank(folder)
    bank.environment.update(BANK_ASKS="1", BANK_MAX_AGE="null")
    with bank.worker(concurrency=2) as worker:
        parents = "SELECT pid FROM pg_stat_activity WHERE application_name = 'parent'"
        assert database.ask(parents) == []
        children = {(found := run(bank, "look"))["process"]: found["backend"] for _ in range(6)}
        assert len(set(children.values())) == len(children)
        assert "opened a connection" not in worker.log


def test_a_pool_of_connections(bank: Project, database: Postgres) -> None:
    bank.environment.update(BANK_ASKS="1", BANK_OPTIONS='{"pool": {"min_size": 1, "max_size": 2}}')
    with bank.worker(concurrency=2):
        for how in ("atomic", "begin"):
            run(bank, "leave", "-p", f"how={how}")
            after = run(bank, "look")
            assert (after["atomic"], after["autocommit"], after["alone"], after["paid"]) == (False, True, True, 0)


def test_flask_sqlalchemy(make_bank: Callable[[str], Project], database: Postgres) -> None:
    bank = make_bank("flask_bank")
    with bank.worker(concurrency=1):
        first = run(bank, "look")
        run(bank, "leave")
        after = run(bank, "look")
        assert (after["paid"], after["process"]) == (0, first["process"])
