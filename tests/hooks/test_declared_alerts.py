"""The hooks that are not outcomes: start, recovered, and failures in a row."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from runner.catalog.catalog import Catalog
from runner.errors import Unavailable
from runner.hooks.fire import fire_hooks
from runner.model.hooks import Hook, Hooks
from runner.model.job import JobSpec, Retention
from runner.model.param import Param
from runner.model.run import State
from tests.hooks.firing import Broken, come_again, fired, waiting
from tests.support.bench import ERROR, Bench
from tests.support.catalogs import catalog_of

TAKES_RUN = MappingProxyType({"run": Param("run", MappingProxyType({"type": "object"}))})
TOLD = JobSpec(name="told", task="m:a", params=TAKES_RUN)


def catalog_with(**hooks: tuple[Hook, ...]) -> Catalog:
    """Return a job with these hooks, and the job ``told`` that they submit."""
    job = JobSpec(name="job", task="m:a", digest="sha256:0", hooks=Hooks(**hooks))
    return catalog_of({"job": job, "told": TOLD})


def told(bench: Bench, catalog: Catalog) -> list[tuple[str, str | None]]:
    """Fire all that is due; return the hook and the run of each submission."""
    return sorted((run.params["run"]["hook"], run.hook_of) for run in fired(bench, catalog).get("told", ()))


def ends(bench: Bench, catalog: Catalog, *states: State) -> list[str]:
    """Have runs end in these states, one after the other; return their ids."""
    return [bench.end(state, job=catalog.jobs["job"])[0].id for state in states]


HERE = (Hook(job="told"),)
FAILURE, SUCCESS, REVOKED = State.FAILURE, State.SUCCESS, State.REVOKED


def test_the_first_start_of_a_run_fires_once_whatever_follows(bench: Bench) -> None:
    catalog = catalog_with(start=HERE)
    run = bench.submit(job=catalog.jobs["job"])
    assert waiting(bench) == 0
    bench.attempts.retry(run.id, bench.start(run), 0.0, ERROR)
    bench.make_due(run.id)
    bench.beat()
    bench.attempts.lose(run.id, bench.start(run), {"worker": "w1"})
    bench.make_due(run.id)
    bench.beat()
    bench.attempts.succeed(run.id, bench.start(run), "1")
    assert told(bench, catalog) == [("start", run.id)]


def test_a_start_fires_before_the_end_does(bench: Bench) -> None:
    catalog = catalog_with(start=HERE, success=HERE, failure=HERE)
    bench.end(SUCCESS, job=catalog.jobs["job"])
    made = [run.params["run"]["hook"] for run in reversed(fired(bench, catalog)["told"])]
    assert sorted(made) == ["start", "success"]
    waits = [bench.ledger.get(message).params["run"]["hook"] for message in bench.messages()]
    assert waits == ["start", "success"]


def test_a_run_stays_until_its_start_is_told(bench: Bench) -> None:
    """However few runs of a job are kept, and however fast they end."""
    catalog = catalog_with(start=HERE)
    job = replace(catalog.jobs["job"], retention=Retention(runs=1, keep_at_least=0.0))
    runs = [bench.end(SUCCESS, job=job)[0].id for _ in range(4)]
    assert told(bench, catalog) == sorted(("start", run_id) for run_id in runs)
    last, _ = bench.end(SUCCESS, job=job)
    assert [run.id for run in bench.ledger.runs(job="job")] == [last.id]


def test_an_overrun_is_told_once_while_the_run_goes_on(bench: Bench) -> None:
    catalog = catalog_with(overrun=HERE, success=HERE)
    job = replace(catalog.jobs["job"], overrun=0.001, retention=Retention(runs=1, keep_at_least=0.0))
    run = bench.submit(job=job)
    token = bench.start(run)
    bench.wait_until(lambda: bench.ledger.get(run.id).overran_at is not None)
    [hook] = fired(bench, catalog)["told"]
    assert (hook.params["run"]["hook"], hook.params["run"]["state"], hook.hook_of) == ("overrun", "STARTED", run.id)
    come_again(bench)
    bench.attempts.succeed(run.id, token, "1")
    assert told(bench, catalog) == [("overrun", run.id), ("success", run.id)]


def test_the_first_success_after_a_failure_has_recovered(bench: Bench) -> None:
    catalog = catalog_with(recovered=HERE)
    ids = ends(bench, catalog, SUCCESS, FAILURE, FAILURE, REVOKED, SUCCESS, SUCCESS, FAILURE, SUCCESS)
    assert told(bench, catalog) == sorted([("recovered", ids[4]), ("recovered", ids[7])])
    assert [bench.ledger.get(run_id).failures_in_row for run_id in ids] == [0, 1, 2, None, 2, 0, 1, 1]


def test_success_and_recovered_fire_both(bench: Bench) -> None:
    catalog = catalog_with(success=HERE, recovered=HERE)
    _, second = ends(bench, catalog, FAILURE, SUCCESS)
    assert told(bench, catalog) == [("recovered", second), ("success", second)]


@pytest.mark.parametrize("between", [(), (REVOKED,)])
def test_a_hook_with_after_fires_from_that_failure_in_a_row_on(bench: Bench, between: tuple[State, ...]) -> None:
    catalog = catalog_with(failure=(Hook(job="told", after=3),))
    ids = ends(bench, catalog, FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE, *between, FAILURE, FAILURE)
    assert told(bench, catalog) == sorted(("failure", run_id) for run_id in ids[-2:])


def test_recovered_with_after_follows_so_many_failures_only(bench: Bench) -> None:
    catalog = catalog_with(recovered=(Hook(job="told", after=2),))
    ids = ends(bench, catalog, FAILURE, SUCCESS, FAILURE, FAILURE, SUCCESS)
    assert told(bench, catalog) == [("recovered", ids[-1])]


def test_jobs_are_counted_apart(bench: Bench) -> None:
    catalog = catalog_with(failure=(Hook(job="told", after=2),))
    other = replace(catalog.jobs["job"], name="other")
    for job in (catalog.jobs["job"], other):
        bench.end(FAILURE, job=job)
    assert told(bench, catalog_of({**catalog.jobs, "other": other})) == []


def test_an_outcome_that_is_reported_again_counts_once(bench: Bench) -> None:
    """The answer was lost on the way, or a zombie comes late."""
    catalog = catalog_with(failure=(Hook(job="told", after=2),))
    run = bench.submit(job=catalog.jobs["job"])
    token = bench.start(run)
    for _ in range(3):
        bench.attempts.fail(run.id, token, "exception", ERROR)
    assert bench.ledger.get(run.id).failures_in_row == 1
    assert told(bench, catalog) == []


def test_failures_without_an_attempt_count_too(bench: Bench) -> None:
    catalog = catalog_with(failure=(Hook(job="told", after=2),))
    job = replace(catalog.jobs["job"], delivery="at_most_once")
    runs = []
    for _ in range(2):
        runs.append(bench.submit(job=job))
        bench.attempts.lose(runs[-1].id, bench.start(runs[-1]), {"worker": "w1"})
    assert told(bench, catalog) == [("failure", runs[1].id)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("script", ["outbox", "read", "submit"])
def test_whatever_breaks_each_alert_is_told_once(bench: Bench, script: str, after: bool) -> None:
    catalog = catalog_with(start=HERE, recovered=HERE, failure=(Hook(job="told", after=2),))
    ids = ends(bench, catalog, FAILURE, FAILURE, SUCCESS)
    broken = Broken(bench.ledger.client, bench.ledger.settings)
    broken.at, broken.after = script, after
    for _ in range(3):
        with pytest.raises(Unavailable):
            fire_hooks(broken, catalog, by="w1")
        come_again(bench)
    expected = [("failure", ids[1]), ("recovered", ids[2]), *(("start", run_id) for run_id in ids)]
    assert told(bench, catalog) == sorted(expected)


def test_a_damaged_count_begins_anew(bench: Bench) -> None:
    catalog = catalog_with(failure=(Hook(job="told", after=2),))
    bench.ledger.client.hset(f"{bench.ledger.namespace}:failed-in-row", "job", "many")
    ids = ends(bench, catalog, FAILURE, FAILURE)
    assert told(bench, catalog) == [("failure", ids[1])]


def test_a_job_without_these_hooks_counts_nothing(bench: Bench) -> None:
    catalog = catalog_with(failure=HERE)
    ids = ends(bench, catalog, FAILURE, SUCCESS)
    assert bench.ledger.client.exists(f"{bench.ledger.namespace}:failed-in-row") == 0
    assert [bench.ledger.get(run_id).failures_in_row for run_id in ids] == [None, None]
