"""PostgreSQL reads pages by an index, and sorts no more than a page looks at, however many runs there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from benchmarks.archive import NAMESPACE, fill
from runner.archive.figures import figures
from runner.archive.reader import Reader
from runner.archive.store import Archive
from runner.model.run import State
from runner.model.run_page import Position
from runner.model.run_query import RunQuery

RUNS = 30_000
LOOK = 60
LIMIT = 20
NOW = datetime(2026, 11, 28, tzinfo=UTC)
MIDDLE = NOW.timestamp() - RUNS / 2

LISTS: list[dict[str, Any]] = [
    {},
    {"sort": "oldest"},
    {"since": MIDDLE},
    {"since": MIDDLE, "sort": "oldest"},
    {"until": MIDDLE},
    {"job": "job-7"},
    {"job": "none"},
    {"job": "job-7", "state": [State.FAILURE]},
    {"job": "job-7", "state": [State.FAILURE, State.REVOKED], "until": MIDDLE},
    {"job": "job-0", "steps": True},
    {"state": [State.REVOKED]},
    {"state": [State.REVOKED], "sort": "oldest", "since": MIDDLE},
    {"steps": True},
    {"steps": True, "state": [State.REVOKED]},
    {"flow": "flow-20"},
    {"reason": "exception"},
    {"trigger": "web"},
    {"tag": "nightly", "worker": "host3"},
    {"grep": "nowhere"},
    {"job": "job-7", "grep": "no route"},
    {"sort": "longest"},
]


@pytest.fixture
def reader(postgres_url: str) -> Iterator[Reader]:
    archive = Archive.open(postgres_url)
    fill(archive, RUNS, NOW)
    yield Reader(archive, NAMESPACE)
    archive.close()


@contextmanager
def statements(archive: Archive) -> Iterator[list[tuple[str, Any]]]:
    """Collect what is asked of the database."""
    found: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        found.append((statement, values))

    event.listen(archive.engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(archive.engine, "before_cursor_execute", note)


def nodes(archive: Archive, statement: str, values: Any) -> Iterator[dict[str, Any]]:
    """Yield the nodes of the plan of a statement."""
    with archive.reading() as connection:
        [[plan]] = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values)
    waiting = [plan[0]["Plan"]]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("Plans", ())


def test_nothing_is_looked_for_in_the_whole_table(reader: Reader) -> None:
    look_at_lists(reader)
    look_at_runs_and_figures(reader)


def look_at_lists(reader: Reader) -> None:
    after = Position(round(MIDDLE * 1000), "8")
    for options in LISTS:
        for position in (None, after):
            with statements(reader.archive) as asked:
                reader.page(RunQuery(**options), limit=LIMIT, after=position, look=LOOK)
            assert asked
            for statement, values in asked:
                for node in nodes(reader.archive, statement, values):
                    assert node["Node Type"] != "Seq Scan", (options, statement)
                    if "Sort" in node["Node Type"]:
                        sorted_rows = max(below["Plan Rows"] for below in node["Plans"])
                        assert sorted_rows <= 6 * max(LOOK, LIMIT + 1), (options, node, statement)


def look_at_runs_and_figures(reader: Reader) -> None:
    run = reader.page(RunQuery(), limit=1).runs[0]
    with statements(reader.archive) as asked:
        assert reader.read([run.id]) == [run]
        assert reader.find(run.id[:8]) == [run.id]
        assert reader.log(run.id)
        found = figures(reader, {"job-7": None}, [0, round(NOW.timestamp() * 1000) + 1], {"job-7": 20})
    assert len(found["job-7"].times) == 20
    for statement, values in asked:
        assert all(node["Node Type"] != "Seq Scan" for node in nodes(reader.archive, statement, values)), statement
