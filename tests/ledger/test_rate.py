"""The rate of starts: never more in any window than the limit, none lost, those that wait in order."""

from __future__ import annotations

from typing import Any

import pytest

from runner.ledger.batch import Batch
from runner.ledger.health.reconcile import reconcile
from runner.ledger.submission import Entry, Submission
from runner.model.concurrency import Concurrency, Policy
from runner.model.job import JobSpec
from runner.model.rate import Rate
from runner.model.run import Run, State
from tests.support.answers import texts
from tests.support.bench import ERROR, Bench

LONG = 1000.0


def spec(limit: int = 1, per: float = LONG, key: str | None = None, **options: Any) -> JobSpec:
    rate = Rate(limit=limit, per=per, key=key)
    return JobSpec(name="job", task="m:a", digest="sha256:0", rate=rate, max_deliveries=9, **options)


def submit(bench: Bench, count: int, job: JobSpec, **options: Any) -> list[Run]:
    return [bench.submit(job=job, **options) for _ in range(count)]


def waiting(bench: Bench, group: str = "job") -> list[str]:
    return texts(bench.ledger.client.zrange(bench.ledger.keys.rated(group), 0, -1))


def starts(bench: Bench, group: str = "job") -> list[int]:
    return [int(at) for at in texts(bench.ledger.client.lrange(f"{bench.ledger.namespace}:starts:{group}", 0, -1))]


def let_time_pass(bench: Bench, group: str = "job", per: float = LONG) -> None:
    """Make the starts of a group older than the time of its rate, and beat."""
    key = f"{bench.ledger.namespace}:starts:{group}"
    for number, at in enumerate(starts(bench, group)):
        bench.ledger.client.lset(key, number, str(at - round(per * 1000) - 1))
    bench.ledger.client.zadd(bench.ledger.keys.rates, {group: 1}, xx=True)
    bench.beat()


def succeed(bench: Bench, run: Run) -> None:
    assert bench.attempts.succeed(run.id, bench.start(run), "1")


def test_only_so_many_come_to_the_queue(bench: Bench) -> None:
    runs = submit(bench, 5, spec(limit=2))
    assert bench.messages() == [run.id for run in runs[:2]]
    assert waiting(bench) == [run.id for run in runs[2:]]
    assert bench.ledger.get(runs[2].id).detail == "waiting for its rate limit"
    assert bench.held() == 0


def test_the_end_of_a_run_lets_no_other_start(bench: Bench) -> None:
    runs = submit(bench, 3, spec(limit=2))
    for run in runs[:2]:
        succeed(bench, run)
    bench.beat()
    assert bench.messages() == []
    assert waiting(bench) == [runs[2].id]


def test_those_that_wait_start_in_their_order_when_it_is_time(bench: Bench) -> None:
    runs = submit(bench, 5, spec(limit=2))
    for first in (0, 2, 4):
        assert bench.messages() == [run.id for run in runs[first : first + 2]]
        for run in runs[first : first + 2]:
            succeed(bench, run)
        bench.beat()
        assert bench.messages() == []
        let_time_pass(bench)
    assert waiting(bench) == []
    assert not bench.ledger.client.exists(bench.ledger.keys.rates)


def test_a_run_that_waits_starts_by_itself(bench: Bench) -> None:
    first, second = submit(bench, 2, spec(per=0.2))
    succeed(bench, first)
    found = bench.beat()
    assert found.next_due is not None
    assert found.next_due <= 0.21
    bench.wait_until(lambda: bench.beat() is not None and bench.messages() == [second.id])
    succeed(bench, second)
    begun = [bench.ledger.get(run.id).started_at or "" for run in (first, second)]
    assert begun == sorted(begun)


def test_a_start_counts_and_not_a_submission(bench: Bench) -> None:
    first, second = submit(bench, 2, spec())
    let_time_pass(bench)
    assert waiting(bench) == [second.id]
    succeed(bench, first)
    assert len(starts(bench)) == 1
    bench.beat()
    assert waiting(bench) == [second.id]


@pytest.mark.parametrize("how", ["retry", "lose", "hand_back", "sweep"])
def test_a_retry_and_a_redelivery_are_starts_and_come_first(bench: Bench, how: str) -> None:
    first, second = submit(bench, 2, spec())
    token = bench.start(first)
    if how == "retry":
        bench.attempts.retry(first.id, token, 0.0, ERROR)
    elif how == "lose":
        bench.attempts.lose(first.id, token, {"worker": "w1"})
    elif how == "hand_back":
        bench.ledger.script("hand_back", 0, "back", "", token)
    else:
        bench.let_leases_end(token)
        bench.beat()
    bench.make_due(first.id)
    assert bench.messages() == []
    assert waiting(bench) == [first.id, second.id]
    let_time_pass(bench)
    assert bench.messages() == [first.id]
    succeed(bench, first)
    assert waiting(bench) == [second.id]


def test_a_message_that_was_claimed_and_not_started_keeps_its_pass(bench: Bench) -> None:
    first, second = submit(bench, 2, spec())
    bench.ledger.script("hand_back", 0, "back", "", bench.claim_of(first))
    assert bench.messages() == [first.id]
    assert waiting(bench) == [second.id]
    succeed(bench, first)


@pytest.mark.parametrize("end", ["revoke", "expire", "pause"])
def test_a_run_that_does_not_start_leaves_its_pass_to_the_next(bench: Bench, end: str) -> None:
    first = bench.submit(job=spec(), expires=LONG)
    second = bench.submit(job=spec())
    if end == "revoke":
        bench.ledger.revoke(first.id, by="me")
    elif end == "expire":
        bench.make_expire(first.id)
    else:
        bench.ledger.script("pause", "job", "me", "", "")
        bench.start(first)
        bench.ledger.script("resume", "job", "")
    bench.wait_until(lambda: bench.beat() is not None and second.id in bench.messages())
    succeed(bench, second)


def test_one_that_waits_can_be_revoked_and_expires(bench: Bench) -> None:
    runs = [*submit(bench, 2, spec()), bench.submit(job=spec(), expires=LONG)]
    bench.ledger.revoke(runs[1].id, by="me")
    bench.make_expire(runs[2].id)
    ended = [run.reason for run in bench.ledger.read([run.id for run in runs])]
    assert ended == [None, "cancelled", "expired"]
    assert waiting(bench) == []


def test_each_key_is_counted_for_itself(bench: Bench) -> None:
    job = spec(key="${params.tenant}")
    runs = [bench.submit(job=job, params={"tenant": tenant}) for tenant in ("a", "b", "a")]
    assert bench.messages() == [runs[0].id, runs[1].id]
    assert waiting(bench, "job:a") == [runs[2].id]


def test_a_new_run_does_not_overtake_those_that_wait(bench: Bench) -> None:
    first, second = submit(bench, 2, spec())
    bench.ledger.revoke(first.id, by="me")
    third = bench.submit(job=spec())
    assert waiting(bench) == [second.id, third.id]
    bench.beat()
    assert bench.messages()[-1:] == [second.id]


def test_a_delayed_run_counts_when_it_starts(bench: Bench) -> None:
    delayed = bench.submit(job=spec(), eta=bench.now() + 500)
    now = bench.submit(job=spec())
    succeed(bench, now)
    bench.make_due(delayed.id)
    assert waiting(bench) == [delayed.id]


def test_a_bulk_submission_is_limited_too(bench: Bench) -> None:
    common = Submission(id="", job=spec(limit=2), params={}, queue="default", priority=5, trigger="api")
    Batch(bench.ledger, common, [Entry(f"run-{number}", {}) for number in range(5)]).outcomes()
    assert bench.messages() == ["run-0", "run-1"]
    assert waiting(bench) == ["run-2", "run-3", "run-4"]


def test_the_guard_sets_aside_what_came_without_a_pass(bench: Bench) -> None:
    first, second = submit(bench, 2, spec())
    client, keys = bench.ledger.client, bench.ledger.keys
    # Something put its message into the queue: a repair, or somebody by hand.
    message = str(client.hget(keys.run(second.id), "message"))
    client.lpush(keys.queue("default", 5), message)
    client.hdel(keys.run(second.id), "message", "aside")
    client.zrem(keys.rated("job"), second.id)
    succeed(bench, first)
    bench.start(second)
    assert bench.ledger.get(second.id).state is State.PENDING
    assert waiting(bench) == [second.id]
    assert bench.held() == 0


def test_a_clock_that_is_set_back_holds_nobody_for_longer_than_the_time(bench: Bench) -> None:
    first, second = submit(bench, 2, spec(per=0.1))
    succeed(bench, first)
    # As after a step of an hour.
    bench.ledger.client.lset(f"{bench.ledger.namespace}:starts:job", 0, str(starts(bench)[0] + 3_600_000))
    bench.ledger.client.zadd(bench.ledger.keys.rates, {"job": starts(bench)[0]})
    bench.wait_until(lambda: bench.beat() is not None and bench.messages() == [second.id])


@pytest.mark.parametrize(("policy", "ends"), [("queue", None), ("skip", "skipped"), ("replace", None)])
def test_with_concurrency_a_run_waits_for_its_rate_first(bench: Bench, policy: Policy, ends: str | None) -> None:
    job = spec(limit=1, concurrency=Concurrency(limit=1, policy=policy))
    first, second = submit(bench, 2, job)
    bench.start(first)
    assert waiting(bench) == [second.id]
    assert bench.ledger.get(first.id).revocation is None
    let_time_pass(bench)
    assert waiting(bench) == []
    assert bench.ledger.get(second.id).reason == ends
    assert bool(bench.ledger.get(first.id).revocation) is (policy == "replace")


def test_a_run_that_waits_for_a_slot_has_its_pass_already(bench: Bench) -> None:
    first, second = submit(bench, 2, spec(limit=2, concurrency=Concurrency(limit=1)))
    assert bench.ledger.get(second.id).detail == "waiting for a concurrency slot"
    succeed(bench, first)
    succeed(bench, second)
    assert len(starts(bench)) == 2


@pytest.mark.parametrize("who", ["doctor", "beat"])
def test_a_leaked_pass_is_found_and_taken_back(bench: Bench, who: str) -> None:
    first, second = submit(bench, 2, spec())
    bench.ledger.client.zadd(f"{bench.ledger.namespace}:passes:job", {"gone": 1})
    bench.ledger.revoke(first.id, by="me")
    if who == "doctor":
        found = {finding.name: finding.count for finding in reconcile(bench.ledger)}
        assert found["slots"] == 1
        reconcile(bench.ledger, mend=True)
        assert {finding.name: finding.count for finding in reconcile(bench.ledger)}["slots"] == 0
    bench.beat()
    bench.beat()
    assert bench.messages()[-1:] == [second.id]


def test_a_group_that_nothing_would_let_go_on_is_found(bench: Bench) -> None:
    submit(bench, 2, spec())
    bench.ledger.client.delete(bench.ledger.keys.rates)
    assert {finding.name: finding.count for finding in reconcile(bench.ledger)}["slots"] == 1
    reconcile(bench.ledger, mend=True)
    assert bench.ledger.client.exists(bench.ledger.keys.rates)


def test_the_doctor_finds_nothing_wrong_with_those_that_wait(bench: Bench) -> None:
    submit(bench, 5, spec(limit=2))
    assert not [finding.name for finding in reconcile(bench.ledger) if finding.count]


def test_nothing_is_left_of_a_group_without_runs(bench: Bench) -> None:
    succeed(bench, bench.submit(job=spec(per=0.1)))
    client, namespace = bench.ledger.client, bench.ledger.namespace
    assert not client.exists(bench.ledger.keys.rates, f"{namespace}:passes:job", bench.ledger.keys.rated("job"))
    bench.wait_until(lambda: not client.exists(f"{namespace}:starts:job"))
