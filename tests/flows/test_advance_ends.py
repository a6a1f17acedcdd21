"""How flows end early: revoked in every state, out of time, replaced, paused, or stopped by a failure."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from runner.errors import Unavailable
from runner.ledger.flow_progress import step_run_id
from runner.ledger.flows import make_steps
from runner.model.concurrency import Concurrency
from runner.model.run import Run, State
from tests.support.bench import ERROR, Bench
from tests.support.flows import FlowBench

WIDE: dict[str, Any] = {
    "flow": {
        "steps": {
            "a": {"each": list(range(4)), "task": "m:a"},
            "b": {"needs": ["a"], "task": "m:b"},
            "c": {"needs": ["b"], "when": "ended", "task": "m:c"},
        },
    },
}


def started(flows: FlowBench, flow: str, number: int = 1) -> list[Any]:
    """Start step runs of a flow."""
    found = [flows.take() for _ in range(number)]
    assert all(taken is not None and taken.run.flow == flow for taken in found)
    return found


def test_a_flow_that_waits_is_revoked_at_once(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.submit()
    run, changed = bench.ledger.revoke(flow, by="anna")
    assert changed
    assert (run.state, run.reason) == (State.REVOKED, "cancelled")
    assert flows.work() == 0


def test_a_flow_that_was_started_and_has_not_begun_is_revoked_as_it_begins(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.submit()
    taken = flows.take()
    assert taken is not None
    run, _ = bench.ledger.revoke(flow, by="anna", terminate=True)
    assert run.state is State.STARTED
    # Its taker is not ended: it begins the flow, which ends then.
    assert bench.beat().terminating == {}
    assert bench.ledger.script("begin_flow", flow, taken.token) == 1
    flows.advance(flow)
    run = flows.get(flow)
    assert (run.state, run.reason) == (State.REVOKED, "terminated")
    assert flows.steps(flow) == {"a": "REVOKED", "b": "REVOKED", "c": "REVOKED"}


def test_revoking_lets_what_runs_end_and_starts_nothing_more(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.run()
    [first] = started(flows, flow)
    run, changed = bench.ledger.revoke(flow, by="anna", comment="wrong day")
    assert changed
    assert (run.state, run.detail) == (State.STARTED, "revoked: no more steps are started")
    assert flows.outbox() == [flow]
    flows.drain()
    assert flows.step(flow, "a")["counts"] == {"STARTED": 1, "REVOKED": 3}
    # Nothing follows the attempt either.
    assert bench.beat().terminating == {}
    assert flows.settle(first, 1) == 2
    flows.advance(flow)
    run = flows.get(flow)
    assert (run.state, run.reason) == (State.REVOKED, "cancelled")
    assert (run.revocation or {})["by"] == "anna"
    assert flows.steps(flow) == {"a": "REVOKED", "b": "REVOKED", "c": "REVOKED"}
    assert flows.of(flow, "a", first.run.item).state is State.SUCCESS
    assert flows.of(flow, "c").reason == "cancelled"
    assert flows.work() == 0


def test_a_retry_does_not_follow_in_a_flow_that_was_revoked(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.run()
    [first] = started(flows, flow)
    bench.ledger.revoke(flow, by="anna")
    flows.drain()
    bench.attempts.retry(first.run.id, first.token, 0.0, ERROR)
    flows.drain()
    assert flows.get(flow).state is State.REVOKED


@pytest.mark.parametrize("how", ["retry", "lose", "hand_back"])
def test_nothing_follows_the_only_attempt_of_a_flow_that_was_revoked(bench: Bench, how: str) -> None:
    flows = FlowBench(bench, {"flow": {"steps": {"a": {"task": "m:a"}}}})
    flow = flows.run()
    [taken] = started(flows, flow)
    bench.ledger.revoke(flow, by="anna")
    flows.drain()
    if how == "retry":
        bench.attempts.retry(taken.run.id, taken.token, 0.0, ERROR)
    elif how == "lose":
        bench.attempts.lose(taken.run.id, taken.token, {"worker": "w1"})
    else:
        bench.ledger.script("hand_back", 0, "its worker stops", "", taken.token)
    flows.drain()
    assert flows.get(flow).state is State.REVOKED
    assert flows.take() is None


def test_without_memory_what_runs_is_terminated_all_the_same(bench: Bench) -> None:
    flows = FlowBench(bench, {"flow": {"steps": {"a": {"task": "m:a"}, "b": {"needs": ["a"], "task": "m:b"}}}})
    flow = flows.run()
    [taken] = started(flows, flow)
    client = bench.ledger.client
    before = str(client.config_get("maxmemory")["maxmemory"])
    client.config_set("maxmemory", 1)
    try:
        bench.ledger.revoke(flow, by="anna", terminate=True)
        with suppress(Unavailable):
            flows.advance(flow)
        assert bench.beat().terminating == {taken.run.id: "TERM"}
    finally:
        client.config_set("maxmemory", before)


def test_a_pause_that_ends_while_steps_are_made_damages_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    flows = FlowBench(bench, {"flow": {"steps": {"a": {"task": "m:a"}, "b": {"needs": ["a"], "task": "m:b"}}}})
    flow = flows.run()
    [taken] = started(flows, flow)
    flows.settle(taken, 1)
    paused: list[Any] = []

    def make_while_paused(*args: Any, **options: Any) -> Any:
        if paused:
            return make_steps(*args, **options)
        paused.append(bench.ledger.script("pause", "flow", "anna", "", ""))
        answer = make_steps(*args, **options)
        bench.ledger.script("resume", "flow", "anna")
        return answer

    monkeypatch.setattr("runner.flows.advance.make_steps", make_while_paused)
    flows.drain()
    flows.work()
    assert paused
    assert flows.get(flow).state is State.SUCCESS


def test_terminating_ends_what_runs(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.run()
    both = started(flows, flow, 2)
    bench.ledger.revoke(flow, by="anna", terminate=True)
    flows.drain()
    assert bench.beat().terminating == {taken.run.id: "TERM" for taken in both}
    for taken in both:
        assert flows.get(flow).state is State.STARTED
        assert bench.attempts.lose(taken.run.id, taken.token, {"worker": "w1"}) == "REVOKED"
    flows.drain()
    run = flows.get(flow)
    assert (run.state, run.reason) == (State.REVOKED, "terminated")
    assert bench.beat().terminating == {}


def test_revoking_and_then_terminating(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.run()
    [first] = started(flows, flow)
    for terminate in (False, True, True):
        bench.ledger.revoke(flow, by="anna", terminate=terminate)
        flows.advance(flow)
    assert bench.beat().terminating == {first.run.id: "TERM"}
    bench.attempts.lose(first.run.id, first.token, {"worker": "w1"})
    flows.drain()
    assert flows.get(flow).reason == "terminated"


def test_a_flow_whose_last_step_succeeds_after_it_was_revoked_succeeds(bench: Bench) -> None:
    flows = FlowBench(bench, {"flow": {"steps": {"a": {"task": "m:a"}}}})
    flow = flows.run()
    [only] = started(flows, flow)
    bench.ledger.revoke(flow, by="anna")
    flows.drain()
    flows.settle(only, 1)
    flows.advance(flow)
    assert flows.get(flow).state is State.SUCCESS


def test_revoking_what_has_ended_changes_nothing(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.run()
    flows.work()
    before = flows.get(flow)
    _, changed = bench.ledger.revoke(flow, by="anna", terminate=True)
    assert not changed
    assert (flows.get(flow), flows.outbox()) == (before, [])


def test_a_step_run_that_is_revoked_by_hand_fails_its_step(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.run()
    bench.ledger.revoke(step_run_id(flow, "a", 2), by="anna")
    flows.drain()
    flows.work()
    run = flows.get(flow)
    assert (run.state, run.reason) == (State.FAILURE, "step_failed")
    assert flows.steps(flow) == {"a": "REVOKED", "b": "REVOKED", "c": "SUCCESS"}


# -- time


def test_a_flow_whose_time_is_up_ends_in_failure(bench: Bench) -> None:
    flows = FlowBench(bench, {"flow": {**WIDE["flow"], "timeout": "3h"}})
    flow = flows.run()
    [first] = started(flows, flow)
    client, keys = bench.ledger.client, bench.ledger.keys
    deadline = client.hget(keys.flow(flow), "deadline")
    assert deadline is not None
    assert (client.zscore(keys.flows, flow) or 0.0) <= float(deadline)
    # As if three hours had passed.
    client.hset(keys.flow(flow), "deadline", int(bench.now() * 1000) - 1)
    client.zadd(keys.flows, {flow: 0})
    bench.beat()
    flows.drain()
    assert bench.beat().terminating == {first.run.id: "TERM"}
    bench.attempts.lose(first.run.id, first.token, {"worker": "w1"})
    flows.drain()
    run = flows.get(flow)
    assert (run.state, run.reason) == (State.FAILURE, "timeout")
    assert run.error is not None
    assert run.error["message"] == "the flow took longer than 3h"
    assert client.zscore(keys.flows, flow) is None


def test_the_beat_finds_a_flow_whose_entry_was_lost(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.submit()
    flows.begin(flow)
    client, keys = bench.ledger.client, bench.ledger.keys
    client.delete(keys.outbox)
    bench.beat()
    assert flows.outbox() == []
    client.zadd(keys.flows, {flow: 1})
    assert bench.beat().hooks == 1
    assert (client.zscore(keys.flows, flow) or 0.0) > bench.now() * 1000 + 50_000
    flows.drain()
    assert flows.step(flow, "a")["counts"] == {"PENDING": 4}


# -- pause


def test_nothing_is_admitted_while_the_job_is_paused(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.run()
    [first, *_] = started(flows, flow, 4)
    rest = bench.ledger.client.hset(bench.ledger.keys.paused, "flow", '{"by":"anna","since":1}')
    assert rest == 1
    for taken in [first, *_]:
        flows.settle(taken, 1)
    assert not flows.advance(flow)
    assert flows.outbox() == []
    assert flows.steps(flow) == {"a": "SUCCESS", "b": "PENDING", "c": "PENDING"}
    assert bench.ledger.script("resume", "flow", "anna") == 1
    bench.beat()
    flows.drain()
    flows.work()
    assert flows.get(flow).state is State.SUCCESS


def test_step_runs_that_wait_are_held_by_the_pause_of_their_flow(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.run()
    bench.ledger.client.hset(bench.ledger.keys.paused, "flow", '{"by":"anna","since":1}')
    assert flows.take() is None
    bench.ledger.script("resume", "flow", "anna")
    bench.beat()
    flows.work()
    assert flows.get(flow).state is State.SUCCESS


def test_a_pause_that_ends_by_itself_lets_the_flow_go_on(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.submit()
    flows.begin(flow)
    client, keys = bench.ledger.client, bench.ledger.keys
    ends = int(bench.now() * 1000) + 20_000
    client.hset(keys.paused, "flow", f'{{"by":"anna","since":1,"ends":{ends}}}')
    flows.advance(flow)
    assert client.zscore(keys.flows, flow) == ends
    assert flows.steps(flow)["a"] == "PENDING"
    client.hset(keys.paused, "flow", '{"by":"anna","since":1,"ends":1}')
    client.zadd(keys.flows, {flow: 1})
    bench.beat()
    flows.drain()
    flows.work()
    assert flows.get(flow).state is State.SUCCESS


def test_a_paused_flow_can_be_revoked(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.run()
    bench.ledger.client.hset(bench.ledger.keys.paused, "flow", '{"by":"anna","since":1}')
    flows.take()
    bench.ledger.revoke(flow, by="anna")
    flows.drain()
    assert flows.get(flow).state is State.REVOKED


# -- concurrency


def test_a_flow_that_is_replaced_ends_its_steps(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flows.jobs["flow"] = replace(flows.jobs["flow"], concurrency=Concurrency(limit=1, policy="replace"))
    first = flows.run()
    [running] = started(flows, first)
    second = flows.submit()
    flows.drain()
    assert bench.beat().terminating == {running.run.id: "TERM"}
    bench.attempts.lose(running.run.id, running.token, {"worker": "w1"})
    flows.drain()
    run = flows.get(first)
    assert (run.state, run.reason) == (State.REVOKED, "replaced")
    flows.work()
    assert flows.get(second).state is State.SUCCESS


def test_a_flow_holds_its_slot_while_its_steps_run(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flows.jobs["flow"] = replace(flows.jobs["flow"], concurrency=Concurrency(limit=1))
    first, second = flows.run(), flows.submit()
    assert flows.get(second).detail == "waiting for a concurrency slot"
    assert flows.work(most=6) == 6
    assert flows.get(first).state is State.SUCCESS
    flows.work()
    assert flows.get(second).state is State.SUCCESS


def test_no_more_items_run_at_once_than_was_said(bench: Bench) -> None:
    steps = {"a": {"each": list(range(7)), "at_once": 2, "task": "m:a"}}
    flows = FlowBench(bench, {"flow": {"steps": steps}})
    flow = flows.run()
    both = started(flows, flow, 2)
    assert flows.take() is None
    assert flows.of(flow, "a", 5).detail == "waiting for its turn in its step"
    assert flows.settle(both[0], 1) == 1
    [third] = started(flows, flow)
    assert flows.take() is None
    for taken in (both[1], third):
        flows.settle(taken, 1)
    flows.work()
    assert flows.get(flow).state is State.SUCCESS
    assert [key for key in flows.all_keys() if "holders" in key or "waiting" in key or ":limits" in key] == []


# -- a failure


def test_a_failure_stops_the_other_branches_but_not_what_cleans_up(bench: Bench) -> None:
    steps = {
        "bad": {"task": "m:bad"},
        "slow": {"task": "m:slow"},
        "after": {"needs": ["slow"], "task": "m:after"},
        "clean": {"needs": ["bad", "after"], "when": "ended", "task": "m:clean"},
    }
    flows = FlowBench(bench, {"flow": {"on_failure": "stop", "steps": steps}})
    flow = flows.run()
    both = {taken.run.step: taken for taken in started(flows, flow, 2)}
    assert flows.settle(both["bad"], ValueError("no")) == 2
    flows.advance(flow)
    assert bench.beat().terminating == {both["slow"].run.id: "TERM"}
    bench.attempts.lose(both["slow"].run.id, both["slow"].token, {"worker": "w1"})
    flows.drain()

    def behave(run: Run) -> Any:
        assert run.step == "clean"
        return 1

    assert flows.work(behave) == 1
    run = flows.get(flow)
    assert (run.state, run.reason) == (State.FAILURE, "step_failed")
    assert (run.error or {})["message"] == "bad failed"
    assert flows.steps(flow) == {"bad": "FAILURE", "slow": "REVOKED", "after": "REVOKED", "clean": "SUCCESS"}


def test_dependents_end_as_soon_as_one_item_has_failed(bench: Bench) -> None:
    flows = FlowBench(bench, WIDE)
    flow = flows.run()
    [first] = started(flows, flow)
    assert flows.settle(first, ValueError("no")) == 2
    flows.advance(flow)
    assert flows.steps(flow) == {"a": "STARTED", "b": "REVOKED", "c": "PENDING"}


@pytest.mark.parametrize("delivery", ["at_least_once", "at_most_once"])
def test_a_lost_attempt_of_a_step_goes_on_as_any_run_does(bench: Bench, delivery: str) -> None:
    steps = {"a": {"task": "m:a", "delivery": delivery}, "b": {"needs": ["a"], "task": "m:b"}}
    flows = FlowBench(bench, {"flow": {"steps": steps}})
    flow = flows.run()
    [first] = started(flows, flow)
    bench.attempts.lose(first.run.id, first.token, {"worker": "w1"})
    flows.drain()
    bench.make_due(first.run.id)
    flows.work()
    again = delivery == "at_least_once"
    assert flows.started == [("a", None), ("a", None), ("b", None)] if again else [("a", None)]
    assert flows.get(flow).state == ("SUCCESS" if again else "FAILURE")
