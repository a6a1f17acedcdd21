"""``overrun``: a run that takes longer is marked once, whoever looks first, and goes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from runner.model.hooks import Hook, Hooks
from runner.model.job import JobSpec
from runner.model.run import Run, State
from tests.support.answers import text
from tests.support.bench import ERROR, Bench

HOOKS = Hooks(overrun=(Hook(job="told"),))
JOB = JobSpec(name="job", task="m:a", digest="sha256:0", overrun=3600.0, hooks=HOOKS)


def begin_long_ago(bench: Bench, run: Run) -> None:
    """Move the start of an attempt two hours back, as if it had run all that time."""
    client, namespace = bench.ledger.client, bench.ledger.namespace
    key = f"{namespace}:run:{run.id}"
    client.hset(key, "started_at", int(text(client.hget(key, "started_at"))) - 7_200_000)
    due = client.zscore(f"{namespace}:overrunning", run.id)
    if due is not None:
        client.zadd(f"{namespace}:overrunning", {run.id: due - 7_200_000})


def started(bench: Bench, job: JobSpec = JOB, *, long: bool = True) -> tuple[Run, str]:
    run = bench.submit(job=job)
    token = bench.start(run)
    if long:
        begin_long_ago(bench, run)
    return run, token


def due(bench: Bench) -> list[str]:
    """Return the entries of the outbox."""
    return [str(entry) for entry in bench.ledger.client.zrange(f"{bench.ledger.namespace}:outbox", 0, -1)]


def watched(bench: Bench) -> int:
    return int(bench.ledger.client.zcard(f"{bench.ledger.namespace}:overrunning"))


def test_a_beat_marks_a_run_that_takes_too_long_and_it_goes_on(bench: Bench) -> None:
    run, token = started(bench)
    bench.beat()
    marked = bench.ledger.get(run.id)
    assert (marked.state, marked.overran_at is not None) == (State.STARTED, True)
    assert due(bench) == [f"{run.id} overrun 1"]
    assert bench.attempts.succeed(run.id, token, "1")
    done = bench.ledger.get(run.id)
    assert (done.state, done.overran_at) == (State.SUCCESS, marked.overran_at)
    assert due(bench) == [f"{run.id} overrun 1"]
    assert watched(bench) == 0


def test_whoever_reads_the_run_marks_it(bench: Bench) -> None:
    run, _ = started(bench)
    assert bench.ledger.get(run.id).overran_at is not None
    assert due(bench) == [f"{run.id} overrun 1"]


def test_one_that_is_in_time_is_not_marked(bench: Bench) -> None:
    run, token = started(bench, long=False)
    bench.beat()
    assert (bench.ledger.get(run.id).overran_at, watched(bench)) == (None, 1)
    bench.attempts.succeed(run.id, token, "1")
    assert (bench.ledger.get(run.id).overran_at, watched(bench), due(bench)) == (None, 0, [])


@pytest.mark.parametrize("how", ["succeed", "fail", "retry", "lose", "hand back", "terminate"])
def test_an_attempt_that_nobody_looked_at_is_marked_when_it_ends(bench: Bench, how: str) -> None:
    run, token = started(bench)
    if how == "succeed":
        bench.attempts.succeed(run.id, token, "1")
    elif how == "fail":
        bench.attempts.fail(run.id, token, "exception", ERROR)
    elif how == "retry":
        bench.attempts.retry(run.id, token, 60.0, ERROR)
    elif how == "lose":
        bench.attempts.lose(run.id, token, {"worker": "w1"})
    elif how == "hand back":
        bench.ledger.script("hand_back", 0, "handed back", "", token)
    else:
        bench.ledger.script("revoke", run.id, "me", "", "1", "TERM")
        bench.attempts.lose(run.id, token, {"worker": "w1"})
    assert bench.ledger.client.hexists(f"{bench.ledger.namespace}:run:{run.id}", "overran_at")
    assert (due(bench), watched(bench)) == ([f"{run.id} overrun 1"], 0)


def test_the_time_counts_from_each_attempt_and_the_hook_fires_once(bench: Bench) -> None:
    run, token = started(bench, long=False)
    bench.attempts.retry(run.id, token, 0.0, ERROR)
    assert watched(bench) == 0
    bench.make_due(run.id)
    for _ in range(2):
        token = bench.start(run)
        begin_long_ago(bench, run)
        bench.beat()
        bench.attempts.retry(run.id, token, 0.0, ERROR)
        bench.make_due(run.id)
    assert (due(bench), watched(bench)) == ([f"{run.id} overrun 1"], 0)


def test_many_that_look_at_once_mark_it_once(bench: Bench) -> None:
    run, _ = started(bench)
    with ThreadPoolExecutor(12) as herd:
        marks = {found.overran_at for found in herd.map(lambda _: bench.ledger.get(run.id), range(60))}
    assert len(marks) == 1
    assert due(bench) == [f"{run.id} overrun 1"]


def test_a_mark_needs_no_hook(bench: Bench) -> None:
    run, _ = started(bench, replace(JOB, hooks=Hooks()))
    assert bench.ledger.get(run.id).overran_at is not None
    assert due(bench) == []


def test_a_job_without_it_is_not_watched(bench: Bench) -> None:
    run, token = started(bench, replace(JOB, overrun=None, hooks=Hooks()))
    assert watched(bench) == 0
    bench.beat()
    bench.attempts.succeed(run.id, token, "1")
    assert bench.ledger.get(run.id).overran_at is None


@pytest.mark.parametrize("damaged", [{"overrun": "x"}, {"started_at": "x"}, {"overran_at": "x"}])
def test_a_damaged_record_stops_no_beat_and_no_run(bench: Bench, damaged: dict[str, str]) -> None:
    run, token = started(bench)
    for name, value in damaged.items():
        bench.ledger.client.hset(f"{bench.ledger.namespace}:run:{run.id}", name, value)
    other, _ = started(bench)
    bench.beat()
    assert bench.ledger.get(other.id).overran_at is not None
    assert bench.attempts.succeed(run.id, token, "1")
    assert watched(bench) == 0


def test_nothing_is_left_of_a_run_that_is_forgotten(bench: Bench) -> None:
    run, token = started(bench, replace(JOB, hooks=Hooks()))
    bench.attempts.succeed(run.id, token, "1")
    bench.ledger.forget(run.id)
    assert bench.leftovers(run.id) == []
