"""Slots of concurrency: never more holders than the limit, none leaked, those that wait in order."""

from __future__ import annotations

from typing import Any

import pytest

from runner.ledger.attempt import Dropped, Started
from runner.ledger.health.reconcile import reconcile
from runner.model.concurrency import Concurrency, Policy
from runner.model.job import JobSpec
from runner.model.run import Run, State
from tests.support.answers import text, texts
from tests.support.bench import ERROR, Bench


def spec(limit: int = 1, policy: Policy = "queue", key: str | None = None, name: str = "job") -> JobSpec:
    limited = Concurrency(limit=limit, policy=policy, key=key)
    return JobSpec(name=name, task="m:a", digest="sha256:0", concurrency=limited, max_deliveries=9)


def submit(bench: Bench, count: int, job: JobSpec, **options: Any) -> list[Run]:
    return [bench.submit(job=job, **options) for _ in range(count)]


def holders(bench: Bench, group: str = "job") -> list[str]:
    return texts(bench.ledger.client.zrange(f"{bench.ledger.namespace}:holders:{group}", 0, -1))


def waiting(bench: Bench, group: str = "job") -> list[str]:
    return texts(bench.ledger.client.zrange(f"{bench.ledger.namespace}:waiting:{group}", 0, -1))


def states(bench: Bench, runs: list[Run]) -> list[str]:
    return [
        f"{run.state}" + (f"/{run.reason}" if run.reason else "") for run in bench.ledger.read([r.id for r in runs])
    ]


def test_only_so_many_come_to_the_queue(bench: Bench) -> None:
    runs = submit(bench, 5, spec(limit=2))
    assert bench.messages() == [run.id for run in runs[:2]]
    assert waiting(bench) == [run.id for run in runs[2:]]
    assert bench.ledger.get(runs[2].id).detail == "waiting for a concurrency slot"


@pytest.mark.parametrize("end", ["succeed", "fail", "revoke"])
def test_the_end_of_one_is_the_beginning_of_the_next_in_order(bench: Bench, end: str) -> None:
    runs = submit(bench, 3, spec())
    if end == "revoke":
        bench.ledger.revoke(runs[0].id, by="me")
        assert bench.messages() == [runs[0].id, runs[1].id]
    else:
        token = bench.start(runs[0])
        if end == "succeed":
            bench.attempts.succeed(runs[0].id, token, "1")
        else:
            bench.attempts.fail(runs[0].id, token, "exception", ERROR)
        assert bench.messages() == [runs[1].id]
    assert holders(bench) == [runs[1].id]
    assert waiting(bench) == [runs[2].id]
    assert bench.ledger.get(runs[1].id).detail == "waiting in queue default"


def test_one_that_waits_can_be_revoked_and_expires(bench: Bench) -> None:
    runs = [*submit(bench, 2, spec()), bench.submit(job=spec(), expires=0.001)]
    bench.ledger.revoke(runs[1].id, by="me")
    bench.wait_until(lambda: bench.ledger.get(runs[2].id).final)
    assert states(bench, runs) == ["PENDING", "REVOKED/cancelled", "REVOKED/expired"]
    assert waiting(bench) == []
    assert holders(bench) == [runs[0].id]


def test_under_queue_a_retry_gives_its_slot_away_and_comes_back_first(bench: Bench) -> None:
    first, second, third = submit(bench, 3, spec())
    bench.attempts.retry(first.id, bench.start(first), 0.0, ERROR)
    assert holders(bench) == [second.id]
    bench.make_due(first.id)
    bench.beat()
    assert waiting(bench) == [first.id, third.id]
    bench.attempts.succeed(second.id, bench.start(second), "1")
    assert holders(bench) == [first.id]


@pytest.mark.parametrize("policy", ["skip", "replace"])
def test_under_the_other_policies_a_retry_keeps_it(bench: Bench, policy: Policy) -> None:
    run = bench.submit(job=spec(policy=policy))
    bench.attempts.retry(run.id, bench.start(run), 0.0, ERROR)
    assert holders(bench) == [run.id]
    bench.make_due(run.id)
    bench.beat()
    assert bench.messages() == [run.id]


@pytest.mark.parametrize("how", ["lose", "hand_back", "sweep"])
def test_a_redelivery_keeps_it(bench: Bench, how: str) -> None:
    first, second = submit(bench, 2, spec())
    token = bench.start(first)
    if how == "lose":
        bench.attempts.lose(first.id, token, {"worker": "w1"})
    elif how == "hand_back":
        bench.ledger.script("hand_back", 0, "back", "", token)
    else:
        bench.let_leases_end(token)
        bench.beat()
    assert holders(bench) == [first.id]
    bench.make_due(first.id)
    bench.beat()
    assert bench.messages() == [first.id]
    assert waiting(bench) == [second.id]


def test_skip_ends_what_finds_no_slot(bench: Bench) -> None:
    runs = submit(bench, 3, spec(limit=2, policy="skip"))
    assert states(bench, runs) == ["PENDING", "PENDING", "REVOKED/skipped"]
    assert bench.messages() == [run.id for run in runs[:2]]


def test_skip_of_a_delayed_run_is_decided_when_it_is_due(bench: Bench) -> None:
    delayed = bench.submit(job=spec(policy="skip"), eta=bench.now() + 500)
    first = bench.submit(job=spec(policy="skip"))
    bench.make_due(delayed.id)
    bench.beat()
    assert states(bench, [first, delayed]) == ["PENDING", "REVOKED/skipped"]


def test_replace_ends_one_that_waits_at_once(bench: Bench) -> None:
    first, second = submit(bench, 2, spec(policy="replace"))
    assert states(bench, [first, second]) == ["REVOKED/replaced", "PENDING"]
    assert holders(bench) == [second.id]
    revocation = bench.ledger.get(first.id).revocation
    assert revocation is not None
    assert second.id in revocation["comment"]


def test_replace_terminates_one_that_runs_and_waits_until_it_is_dead(bench: Bench) -> None:
    first = bench.submit(job=spec(policy="replace"))
    token = bench.start(first)
    second = bench.submit(job=spec(policy="replace"))
    assert states(bench, [first, second]) == ["STARTED", "PENDING"]
    assert holders(bench) == [first.id]
    assert bench.beat().terminating == {first.id: "TERM"}
    third = bench.submit(job=spec(policy="replace"))
    assert states(bench, [second, third]) == ["REVOKED/replaced", "PENDING"]
    assert bench.attempts.lose(first.id, token, {"worker": "w1"}) == "REVOKED"
    assert states(bench, [first, third]) == ["REVOKED/replaced", "PENDING"]
    assert bench.messages()[-1:] == [third.id]


def test_replace_leaves_the_newest_of_several(bench: Bench) -> None:
    runs = submit(bench, 4, spec(limit=2, policy="replace"))
    assert states(bench, runs) == ["REVOKED/replaced", "REVOKED/replaced", "PENDING", "PENDING"]


def test_each_key_has_slots_of_its_own(bench: Bench) -> None:
    job = spec(key="${params.region}-x")
    runs = [bench.submit(job=job, params={"region": region}) for region in ("eu", "us", "eu")]
    assert bench.messages() == [runs[0].id, runs[1].id]
    assert holders(bench, "job:eu-x") == [runs[0].id]
    assert waiting(bench, "job:eu-x") == [runs[2].id]


def test_a_new_limit_holds_for_those_that_wait(bench: Bench) -> None:
    runs = submit(bench, 3, spec(limit=1))
    runs += submit(bench, 1, spec(limit=3))
    bench.beat()
    assert set(holders(bench)) == {run.id for run in runs[:3]} or len(holders(bench)) == 3


def test_a_delayed_run_holds_no_slot(bench: Bench) -> None:
    delayed = bench.submit(job=spec(), eta=bench.now() + 500)
    now = bench.submit(job=spec())
    assert holders(bench) == [now.id]
    bench.make_due(delayed.id)
    bench.beat()
    assert waiting(bench) == [delayed.id]


def test_the_guard_sets_aside_what_came_without_a_slot(bench: Bench) -> None:
    first, second = submit(bench, 2, spec())
    # Something put its message into the queue: a repair, or somebody by hand.
    client, namespace = bench.ledger.client, bench.ledger.namespace
    message = text(client.hget(f"{namespace}:run:{second.id}", "message"))
    client.lpush(f"{namespace}:queue:default:5", message)
    client.hdel(f"{namespace}:run:{second.id}", "message", "aside")
    client.zrem(f"{namespace}:waiting:job", second.id)
    assert isinstance(bench.attempts.start(first.id, bench.claim(), "w1", "job"), Started)
    assert bench.attempts.start(second.id, bench.claim(), "w1", "job") == Dropped("waiting")
    assert waiting(bench) == [second.id]
    assert bench.held() == 1


def test_nothing_is_left_of_a_group_without_runs(bench: Bench) -> None:
    run, _ = bench.end(State.SUCCESS, job=spec())
    left = [key for key in bench.ledger.client.scan_iter(f"{bench.ledger.namespace}:*") if run.id not in key]
    assert not [key for key in left if ":holders" in key or ":waiting" in key or key.endswith(":limits")]


@pytest.mark.parametrize("who", ["doctor", "beat"])
def test_a_leaked_slot_is_found_and_freed(bench: Bench, who: str) -> None:
    first, second = submit(bench, 2, spec())
    # As after a failover that rolled something back.
    client, namespace = bench.ledger.client, bench.ledger.namespace
    client.zadd(f"{namespace}:holders:job", {"gone": 1})
    client.zrem(f"{namespace}:holders:job", first.id)
    if who == "beat":
        bench.beat()
    else:
        found = {finding.name: finding.count for finding in reconcile(bench.ledger)}
        assert found["slots"] == 1
        reconcile(bench.ledger, mend=True)
        assert {finding.name: finding.count for finding in reconcile(bench.ledger)}["slots"] == 0
    assert "gone" not in holders(bench)
    assert second.id in holders(bench)


def test_the_doctor_finds_nothing_wrong_with_those_that_wait(bench: Bench) -> None:
    submit(bench, 5, spec(limit=2))
    assert {finding.name: finding.count for finding in reconcile(bench.ledger)} == {
        finding.name: 0 for finding in reconcile(bench.ledger)
    }
