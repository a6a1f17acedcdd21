"""What is counted for metrics: each thing once, whatever is said twice, late, or by somebody who is gone."""

from __future__ import annotations

import uuid

import pytest

from runner.ledger.fleet import read_queues
from runner.ledger.metrics import Counts, Times, read_counts
from runner.model.run import State
from tests.support.answers import texts
from tests.support.bench import ERROR, Bench

SUCCESS = ("job", "SUCCESS", "")
FAILURE = ("job", "FAILURE", "exception")
DEATH = {"worker": "w1"}


def counts(bench: Bench) -> Counts:
    return read_counts(bench.ledger)


def number(times: Times) -> int:
    return sum(times.counts)


def test_each_way_to_end_is_counted(bench: Bench) -> None:
    for state in (State.SUCCESS, State.SUCCESS, State.FAILURE, State.REVOKED):
        bench.end(state)
    bench.ledger.revoke(bench.submit().id, by="me")
    run = bench.submit(expires=1.0)
    bench.make_expire(run.id)
    bench.beat()
    found = counts(bench)
    assert found.runs == {
        SUCCESS: 2,
        FAILURE: 1,
        ("job", "REVOKED", "terminated"): 1,
        ("job", "REVOKED", "cancelled"): 1,
        ("job", "REVOKED", "expired"): 1,
    }
    assert found.submissions == {("job", "cli"): 6}
    # Two were never started.
    assert (number(found.waited["job"]), number(found.ran["job"])) == (4, 4)
    assert (found.losses, found.redeliveries, found.retries) == ({}, {}, {})


def test_a_submission_that_is_known_counts_once(bench: Bench) -> None:
    run_id = str(uuid.uuid4())
    for _ in range(3):
        bench.submitted(id=run_id)
    for _ in range(3):
        bench.submitted(key="2026-11-23")
    assert counts(bench).submissions == {("job", "cli"): 2}


def test_what_is_said_twice_or_late_counts_once(bench: Bench) -> None:
    run = bench.submit()
    zombie = bench.start(run)
    # The answer to the same start was lost, and it is asked again.
    bench.attempts.start(run.id, zombie, "w1", run.job)
    bench.let_leases_end(zombie)
    bench.beat()
    bench.make_due(run.id)
    token = bench.start(run)
    for late in ("", "after the end"):
        bench.attempts.succeed(run.id, zombie, "1")
        bench.attempts.fail(run.id, zombie, "exception", ERROR)
        bench.attempts.retry(run.id, zombie, 0.0, ERROR)
        bench.attempts.lose(run.id, zombie, DEATH)
        if not late:
            bench.attempts.succeed(run.id, token, "1")
        bench.attempts.succeed(run.id, token, "1")
        bench.attempts.fail(run.id, token, "exception", ERROR)
        bench.attempts.lose(run.id, token, DEATH)
        bench.ledger.revoke(run.id, by="me", terminate=True)
        bench.beat()
    found = counts(bench)
    assert found.runs == {SUCCESS: 1}
    assert (found.losses, found.redeliveries, found.retries) == ({"job": 1}, {"job": 1}, {})
    assert (number(found.waited["job"]), number(found.ran["job"])) == (1, 1)
    assert found.active == {State.PENDING: 0, State.STARTED: 0, State.RETRY: 0}


def test_a_retry_that_is_said_twice_counts_once(bench: Bench) -> None:
    run = bench.submit()
    token = bench.start(run)
    for _ in range(2):
        bench.attempts.retry(run.id, token, 0.0, ERROR)
    bench.make_due(run.id)
    bench.start(run)
    found = counts(bench)
    assert (found.retries, found.losses, found.redeliveries, found.runs) == ({"job": 1}, {}, {}, {})
    # A run waits for its first start.
    assert number(found.waited["job"]) == 1


def test_a_second_message_of_a_run_counts_nothing(bench: Bench) -> None:
    run, _ = bench.end(State.SUCCESS)
    before = counts(bench)
    queue = f"{bench.ledger.namespace}:queue:default:5"
    other = bench.submit()
    [message] = texts(bench.ledger.client.lrange(queue, 0, -1))
    bench.ledger.client.lpush(queue, message.replace(other.id, run.id))
    bench.attempts.start(run.id, bench.claim_of(run), "w1", run.job)
    bench.end(State.SUCCESS)
    after = counts(bench)
    assert after.runs[SUCCESS] == before.runs[SUCCESS] + 1
    assert number(after.waited["job"]) == number(before.waited["job"]) + 1


@pytest.mark.parametrize("started", [False, True])
def test_what_a_dead_worker_held_is_redelivered(bench: Bench, *, started: bool) -> None:
    run = bench.submit()
    token = bench.start(run) if started else bench.claim_of(run)
    bench.let_leases_end(token)
    for _ in range(2):
        bench.beat()
    found = counts(bench)
    assert found.redeliveries == {"job": 1}
    assert found.losses == ({"job": 1} if started else {})


def test_the_last_loss_is_redelivered_no_more(bench: Bench) -> None:
    run = bench.submit()
    for _ in range(3):
        token = bench.start(run)
        bench.attempts.lose(run.id, token, DEATH)
        bench.make_due(run.id)
    found = counts(bench)
    assert found.runs == {("job", "FAILURE", "poisoned"): 1}
    assert (found.losses, found.redeliveries) == ({"job": 3}, {"job": 2})


def test_what_is_handed_back_was_not_lost(bench: Bench) -> None:
    run = bench.submit()
    token = bench.start(run)
    bench.ledger.script("hand_back", 0, "its worker stops", "", token)
    found = counts(bench)
    assert (found.losses, found.redeliveries, found.runs) == ({}, {}, {})


def test_waiting_for_a_retry_is_no_run_time(bench: Bench) -> None:
    run = bench.submit()
    bench.attempts.retry(run.id, bench.start(run), 3600.0, ERROR)
    # As if an hour had passed since.
    started = round((bench.now() - 3600) * 1000)
    bench.ledger.client.hset(f"{bench.ledger.namespace}:run:{run.id}", "started_at", started)
    bench.ledger.revoke(run.id, by="me")
    found = counts(bench)
    assert found.runs == {("job", "REVOKED", "cancelled"): 1}
    assert found.ran == {}


def test_times_are_those_that_passed(bench: Bench) -> None:
    run = bench.submit()
    key, now = f"{bench.ledger.namespace}:run:{run.id}", int(bench.now() * 1000)
    bench.ledger.client.hset(key, mapping={"submitted_at": now - 9_000_000, "eta": now - 3_000})
    token = bench.start(run)
    bench.ledger.client.hset(key, "started_at", now - 70_000)
    bench.attempts.succeed(run.id, token, "1")
    found = counts(bench)
    # 3 s since it was due: above 1 s, up to 5 s; 70 s: above 1 min, up to 5 min.
    assert found.waited["job"].counts.index(1) == 3
    assert 3_000 <= found.waited["job"].total < 60_000
    assert found.ran["job"].counts.index(1) == 6
    assert 70_000 <= found.ran["job"].total < 130_000


def test_counts_outlive_the_runs(bench: Bench) -> None:
    run, _ = bench.end(State.SUCCESS)
    bench.ledger.forget(run.id)
    found = counts(bench)
    assert found.runs == {SUCCESS: 1}
    assert found.succeeded.keys() == {"job"}


def test_every_worker_takes_from_the_inbox_of_plain_clients(bench: Bench) -> None:
    bench.beat()
    assert [queue.name for queue in read_queues(bench.ledger)] == ["default"]
    bench.ledger.client.lpush("celery", "{}")
    try:
        inbox, default = read_queues(bench.ledger)
    finally:
        bench.ledger.client.delete("celery")
    assert (inbox.name, inbox.waiting, inbox.workers, inbox.concurrency) == ("celery", 1, 1, 1)
    assert (default.name, default.waiting, default.workers) == ("default", 0, 1)


def test_runs_in_the_queue_of_plain_clients_are_counted_beside_their_messages(bench: Bench) -> None:
    bench.beat()
    assert "celery" in bench.ledger.consumed_queues()
    bench.submit(queue="celery", priority=3)
    bench.submit(queue="celery", priority=5)
    bench.ledger.client.lpush("celery\x06\x163", "{}")
    try:
        inbox, _ = read_queues(bench.ledger)
    finally:
        bench.ledger.client.delete("celery\x06\x163")
    assert (inbox.waiting, inbox.priorities) == (3, {"3": 2, "5": 1})
