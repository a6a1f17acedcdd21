"""How jobs stand: what waits and runs, how the last run ended, and the cost of reading it."""

from __future__ import annotations

from typing import Any

from runner.ledger.standings import Standing, count_states, longest_running, read_standings
from runner.model.run import State
from tests.support.bench import Bench


def standing(bench: Bench, job: str = "job") -> Standing:
    return read_standings(bench.ledger, [job])[job]


def submitted_at(bench: Bench, run_id: str, job: str, state: State, moment: int) -> None:
    """Have a run be submitted at another time than it was, in its indexes."""
    for key in (bench.ledger.keys.job(job, state), bench.ledger.keys.state(state)):
        bench.ledger.client.zadd(key, {run_id: moment})


def test_a_job_without_runs_stands_still(bench: Bench) -> None:
    assert standing(bench) == Standing("job", 0, 0, None, None, None, None)
    assert read_standings(bench.ledger, []) == {}


def test_what_waits_and_what_runs(bench: Bench) -> None:
    running = bench.submit()
    bench.start(running)
    retried, _ = bench.at(State.RETRY)
    waiting = bench.submit()
    submitted_at(bench, retried.id, "job", State.RETRY, 2000)
    submitted_at(bench, waiting.id, "job", State.PENDING, 3000)
    found = standing(bench)
    assert (found.waiting, found.running, found.oldest, found.oldest_at) == (2, 1, retried.id, 2000)
    assert longest_running(bench.ledger, 5) == [running.id]
    assert {state: count for state, count in count_states(bench.ledger).items() if count} == {
        State.PENDING: 1,
        State.STARTED: 1,
        State.RETRY: 1,
    }


def test_the_last_outcome_is_that_of_the_run_that_was_submitted_last(bench: Bench) -> None:
    for moment, state in enumerate((State.SUCCESS, State.FAILURE, State.REVOKED), 1):
        run, _ = bench.end(state)
        submitted_at(bench, run.id, "job", state, moment)
        last = standing(bench).last
        assert last is not None
        assert (last.id, last.state) == (run.id, state)
        assert last.document()["finished_at"] == bench.ledger.get(run.id).finished_at


def test_a_job_fails_until_a_later_run_succeeds(bench: Bench) -> None:
    failed, _ = bench.end(State.FAILURE)
    submitted_at(bench, failed.id, "job", State.FAILURE, 10)
    assert standing(bench).failed == failed.id
    revoked, _ = bench.end(State.REVOKED)
    submitted_at(bench, revoked.id, "job", State.REVOKED, 20)
    assert standing(bench).failed == failed.id, "a run that was revoked says nothing of whether the job works"
    earlier, _ = bench.end(State.SUCCESS)
    submitted_at(bench, earlier.id, "job", State.SUCCESS, 5)
    assert standing(bench).failed == failed.id
    submitted_at(bench, earlier.id, "job", State.SUCCESS, 30)
    assert standing(bench).failed is None


def test_a_damaged_record_keeps_its_jobs_outcome(bench: Bench) -> None:
    run, _ = bench.end(State.FAILURE)
    key = bench.ledger.keys.run(run.id)
    bench.ledger.client.delete(key)
    bench.ledger.client.set(key, "not a record")
    last = standing(bench).last
    assert last is not None
    assert (last.state, last.reason, last.finished_at) == (State.FAILURE, None, None)
    bench.ledger.client.delete(key)
    bench.ledger.client.hset(key, mapping={"finished_at": "9" * 40, "reason": "timeout"})
    last = standing(bench).last
    assert last is not None
    assert (last.reason, last.finished_at) == ("timeout", None)


def test_the_cost_does_not_depend_on_how_many_runs_there_are(bench: Bench) -> None:
    jobs = [f"job-{number}" for number in range(3)]

    def commands() -> dict[Any, int]:
        bench.ledger.client.config_resetstat()
        read_standings(bench.ledger, jobs)
        count_states(bench.ledger)
        longest_running(bench.ledger, 2)
        stats: dict[str, Any] = bench.ledger.client.info("commandstats")
        return {name: stat["calls"] for name, stat in stats.items() if name.startswith(("cmdstat_z", "cmdstat_hm"))}

    def fill() -> None:
        for job in jobs:
            for state in (State.SUCCESS, State.FAILURE, State.REVOKED):
                bench.end(state, job=bench.job(job))
            bench.start(bench.submit(job=bench.job(job)))

    fill()
    for job in jobs:
        bench.submit(job=bench.job(job))
    few = commands()
    for _ in range(5):
        for job in jobs:
            bench.submit(job=bench.job(job))
    assert commands() == few
