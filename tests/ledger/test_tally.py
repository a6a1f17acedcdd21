"""Figures of jobs: counts of all that is kept, times of the last runs, days by the project's clock."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

from runner.actions.stats import Stats, last_days, percentile
from runner.cli.stats import BARS, PLAIN_BARS, sparkline
from runner.ledger.tally import tally
from runner.model.run import State
from tests.support.bench import Bench


def test_what_a_job_did(bench: Bench) -> None:
    job = bench.job("seen")
    for state in (State.SUCCESS, State.SUCCESS, State.FAILURE, State.REVOKED):
        bench.end(state, job=job)
    bench.submit(job=job)
    bench.submit(job=bench.job("other"))
    ledger = bench.ledger
    run = ledger.runs(job="seen", states=[State.SUCCESS])[0]
    # As if it had been submitted at 1 s, been due at 3 s, had started at 5 s and ended at 9 s.
    record: dict[Any, int] = {"submitted_at": 1000, "eta": 3000, "started_at": 5000, "finished_at": 9000}
    ledger.client.hset(f"{ledger.namespace}:run:{run.id}", mapping=record)
    now = round(bench.now() * 1000)
    [seen, other, none] = tally(ledger, ["seen", "other", "none"], [0, now - 3_600_000, now + 3_600_000], 10)
    assert {str(state): count for state, count in seen.counts.items() if count} == {
        "PENDING": 1,
        "SUCCESS": 2,
        "FAILURE": 1,
        "REVOKED": 1,
    }
    assert seen.days == [(0, 0, 0), (2, 1, 1)]
    assert len(seen.durations) == 3
    assert max(seen.durations) == 4.0
    assert max(seen.waits) == 2.0
    assert seen.last_success is not None
    assert abs(seen.last_success - now) < 600_000
    assert (other.last_success, sum(none.counts.values())) == (None, 0)
    figures = Stats(seen, ["a", "b"])
    assert (figures.runs, figures.active) == (5, 1)
    assert figures.success_rate == 2 / 3
    assert figures.document()["run_seconds"]["p95"] == 4.0
    assert Stats(none, ["a", "b"]).document()["success_rate"] is None


def test_the_last_success_outlives_its_run(bench: Bench) -> None:
    run, _ = bench.end(State.SUCCESS)
    bench.ledger.forget(run.id)
    [found] = tally(bench.ledger, ["job"], [0, 1], 10)
    assert found.last_success is not None


def test_only_the_newest_are_sampled(bench: Bench) -> None:
    for _ in range(5):
        bench.end(State.SUCCESS)
    bench.end(State.FAILURE)
    [found] = tally(bench.ledger, ["job"], [0, 1], 3)
    assert len(found.durations) == 3


def test_days_are_those_of_the_zone() -> None:
    dates, bounds = last_days("Europe/Berlin", 3, datetime(2026, 3, 29, 23, 30, tzinfo=UTC))
    assert dates == ["2026-03-28", "2026-03-29", "2026-03-30"]
    assert [(later - earlier) / 3_600_000 for earlier, later in itertools.pairwise(bounds)] == [24, 23, 24]


def test_percentiles_are_values_that_there_were() -> None:
    assert percentile([], 0.5) is None
    assert percentile([3.0], 0.95) == 3.0
    assert percentile([float(number) for number in range(1, 101)], 0.95) == 95.0
    assert percentile([2.0, 1.0], 0.5) == 1.0


def test_sparkline() -> None:
    drawn = sparkline([0, 1, 8])
    assert drawn[0] == " "
    assert drawn[1:] in (BARS[0] + BARS[7], PLAIN_BARS[0] + PLAIN_BARS[7])
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""
    assert len(set(sparkline([5, 5, 5]))) == 1
