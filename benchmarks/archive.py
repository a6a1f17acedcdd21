"""An archive of millions of runs in PostgreSQL: how long lists, single runs, and figures take.

    python -m benchmarks archive
    python -m benchmarks.archive [--runs N] [--check]

The rows are made by SQL. Ten million of them take some 8 GB of disk and ten minutes. PostgreSQL is started for it, with
the settings that it has by itself.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from benchmarks.pairs import Row, show
from benchmarks.place import Place
from runner.actions.stats import last_days, sample_of
from runner.archive.figures import figures
from runner.archive.reader import Reader
from runner.archive.schema import RUNS
from runner.archive.store import Archive
from runner.model.run import State
from runner.model.run_page import Part
from runner.model.run_query import RunQuery
from tests.support.postgres import USER, postgres

DEFAULT_RUNS = 200_000
QUICK_RUNS = 20_000
JOBS = 200
FLOWS = 1000
"""One run in twenty is a step run. This is the number of flows that they belong to."""
REPEATS = 7
MOST_MILLISECONDS = 300.0
NAMESPACE = "bench"
PORTION = 500_000
SIZE = "SELECT pg_size_pretty(pg_total_relation_size('runner_runs'))"

# The newest run is number 1; there is a run for each second. A job that fails seldom is the hard case for an index.
FILL = """
INSERT INTO runner_runs (
    namespace, id, job, state, reason, queue, priority, worker, "trigger", submitted_by, "key", tags, params, result,
    result_expired, error, log, flow, step, item, attempts, retries, losses, submitted_at, started_at, finished_at,
    took_ms, document, archived_at
)
SELECT
    :namespace, id, job, state, reason, 'default', 5, worker, 'schedule', 'somebody@somewhere.example', NULL,
    '["nightly"]', '{"day":"2026-11-23","region":"eu"}', result, FALSE, error, '[0,1,"INFO","a line of a log",0]',
    flow, step, item, 1, 0, 0, at, at + INTERVAL '1 second', at + took, 1000 + number % 60000,
    json_build_object(
        'id', id, 'job', job, 'state', state, 'reason', reason, 'tags', json_build_array('nightly'),
        'params', json_build_object('day', '2026-11-23', 'region', 'eu'), 'result', result::json, 'error', error::json,
        'attempts', 1, 'queue', 'default', 'priority', 5, 'worker', worker, 'trigger', 'schedule', 'flow', flow,
        'step', step, 'item', item, 'submitted_at', to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'finished_at', to_char((at + took) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    )::text,
    now()
FROM (
    SELECT
        number, md5(number::text)::uuid::text AS id, 'w@host' || number % 20 AS worker,
        'job-' || number % :jobs AS job, CAST(:base AS TIMESTAMPTZ) - number * INTERVAL '1 second' AS at,
        (1000 + number % 60000) * INTERVAL '1 millisecond' AS took,
        CASE WHEN draw < 90 THEN 'SUCCESS' WHEN draw < 98 THEN 'FAILURE' ELSE 'REVOKED' END AS state,
        CASE WHEN draw < 90 THEN NULL WHEN draw < 98 THEN 'exception' ELSE 'cancelled' END AS reason,
        CASE WHEN draw < 90 THEN '1' END AS result,
        CASE WHEN draw >= 90 AND draw < 98
            THEN '{"type":"ValueError","message":"no route to host ' || number || '","traceback"\\:null}' END AS error,
        CASE WHEN number % 20 = 0 THEN 'flow-' || number % :flows END AS flow,
        CASE WHEN number % 20 = 0 THEN 'load' END AS step,
        CASE WHEN number % 20 = 0 THEN number / :flows END AS item
    FROM (
        SELECT number, abs(hashint4(number) % 100) AS draw
        FROM generate_series(CAST(:first AS INTEGER), CAST(:last AS INTEGER)) AS number
    ) AS numbers
) AS made
"""


def fill(archive: Archive, runs: int, base: datetime) -> None:
    """Write rows, and the indexes after them."""
    archive.prepare()
    values = {"namespace": NAMESPACE, "jobs": JOBS, "flows": FLOWS, "base": base}
    with archive.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET maintenance_work_mem = '256MB'"))
        connection.execute(text("ALTER TABLE runner_runs DROP CONSTRAINT runner_runs_pkey"))
        for index in RUNS.indexes:
            index.drop(connection)
        for first in range(1, runs + 1, PORTION):
            connection.execute(text(FILL), {**values, "first": first, "last": min(runs, first + PORTION - 1)})
        connection.execute(text("ALTER TABLE runner_runs ADD PRIMARY KEY (namespace, id)"))
        for index in RUNS.indexes:
            index.create(connection)
        connection.execute(text("VACUUM ANALYZE runner_runs"))


def timed(what: str, do: Callable[[], Any]) -> Row:
    """Return the longest that an answer takes, of some."""
    taken = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        do()
        taken.append((time.perf_counter() - start) * 1000)
    return Row(what, max(taken), None, "ms", REPEATS, most=MOST_MILLISECONDS, bounds="figure")


def answers(reader: Reader, base: datetime, runs: int) -> Iterator[Row]:
    """Time lists, single runs, and figures."""
    middle = base.timestamp() - runs / 2
    deep = reader.page(RunQuery(until=middle), limit=20).end
    some = reader.page(RunQuery(), limit=1).runs[0].id
    _, bounds = last_days("UTC", 14)

    def find(limit: int = 20, **options: Any) -> Callable[[], Part]:
        return lambda: reader.page(RunQuery(**options), limit=limit)

    asked: dict[str, Callable[[], Any]] = {
        "the newest 20": find(),
        "20 in the middle": find(until=middle),
        "the page after those": lambda: reader.page(RunQuery(), limit=20, after=deep),
        "the oldest 20": find(sort="oldest"),
        "since a moment": find(since=middle, sort="oldest"),
        "a job": find(job="job-7"),
        "a state": find(state=[State.REVOKED]),
        "a job and a state": find(job="job-7", state=[State.FAILURE]),
        "two states of a job": find(job="job-7", state=[State.FAILURE, State.REVOKED]),
        "a job in the middle": find(job="job-7", until=middle),
        "a job that has none": find(job="none"),
        "step runs too": find(steps=True),
        "step runs that were revoked": find(steps=True, state=[State.REVOKED]),
        "the steps of a flow": find(flow="flow-20"),
        "a reason": find(reason="cancelled"),
        "a tag": find(tag="nightly"),
        "a worker": find(worker="host7"),
        "a trigger that none has": find(trigger="web"),
        "a text that errors have": find(grep="ROUTE to host"),
        "a text that no error has": find(grep="nowhere"),
        "the longest": find(sort="longest"),
        "500 runs": find(500),
        "a run": lambda: reader.read([some]),
        "a run by the start of its id": lambda: reader.find(some[:8]),
        "figures of a job": lambda: figures(reader, {"job-7": None}, bounds, {"job-7": sample_of(1)}),
    }
    for what, do in asked.items():
        yield timed(what, do)
    everything = dict.fromkeys((f"job-{number}" for number in range(JOBS)), None)
    start = time.perf_counter()
    figures(reader, everything, bounds, dict.fromkeys(everything, sample_of(JOBS)))
    yield Row(f"figures of {JOBS} jobs", (time.perf_counter() - start) * 1000, None, "ms", 1)


@contextmanager
def filled(runs: int) -> Iterator[tuple[Reader, datetime]]:
    """Run a PostgreSQL server with ``runs`` rows for the duration of the ``with`` block."""
    base = datetime.now(UTC)
    with postgres() as server:
        archive = Archive.open(f"postgresql://{USER}@127.0.0.1:{server.port}/postgres")
        try:
            fill(archive, runs, base)
            yield Reader(archive, NAMESPACE), base
        finally:
            archive.close()


def measure(place: Place) -> list[Row]:
    """Measure an archive that is filled in half a minute."""
    runs = QUICK_RUNS if place.quick else DEFAULT_RUNS
    with filled(runs) as (reader, base):
        rows = list(answers(reader, base, runs))
    return [Row(f"archive of {runs:,}: {row.what}", *_rest(row)) for row in rows]


def _rest(row: Row) -> tuple[Any, ...]:
    return row.ours, row.theirs, row.unit, row.rounds, row.least, row.most, row.bounds


def main() -> int:
    """Measure, print, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.archive", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=DEFAULT_RUNS, help=f"how many ({DEFAULT_RUNS:,} by default)")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure is out of its bounds")
    given = parser.parse_args()
    start = time.perf_counter()
    with filled(given.runs) as (reader, base):
        written = time.perf_counter() - start
        rows = list(answers(reader, base, given.runs))
        size = reader.ask(lambda connection: connection.scalar(text(SIZE)))
    show(rows)
    summary = f"{given.runs:,} runs of {JOBS} jobs, {size}, written in {written:.0f} s"
    print(f"\n{summary}; of each answer, the longest of {REPEATS}")
    return 1 if given.check and not all(row.kept for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
