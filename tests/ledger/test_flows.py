"""What the ledger keeps of flows: the doctor's findings, damage, what is lost on the way, and what plain runs pay."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from redis.client import Pipeline
from redis.exceptions import ResponseError

from runner.errors import Unavailable
from runner.hooks import fire
from runner.ledger.flow_progress import STEP_STATES, FlowProgress, step_run_id
from runner.ledger.flows import begin_flow, read_flow, rest_flow
from runner.ledger.health.fleet import check_workers
from runner.ledger.health.reconcile import reconcile
from runner.ledger.ledger import Ledger
from runner.ledger.scripts import source
from runner.model.run import State
from tests.support.answers import texts
from tests.support.bench import Bench
from tests.support.flows import FlowBench

STEPS: dict[str, Any] = {
    "a": {"each": [1, 2, 3], "task": "m:a"},
    "ask": {"approval": {"within": "12h"}},
    "b": {"needs": ["a"], "task": "m:b"},
}
JOBS: dict[str, Any] = {"flow": {"steps": STEPS}}


@pytest.fixture
def flows(bench: Bench) -> FlowBench:
    return FlowBench(bench, JOBS)


def found(bench: Bench, *, mend: bool = False) -> dict[str, int]:
    """Return the findings of the doctor, by name."""
    return {
        finding.name: finding.count
        for finding in reconcile(bench.ledger, mend=mend)
        if finding.count and finding.name != "queue-names"
    }


def test_lua_and_python_know_the_same_states() -> None:
    assert "{ " + ", ".join(f"'{step_state}'" for step_state in STEP_STATES) + " }" in source(
        "runner.ledger", "read_flow"
    )


# -- the doctor


def test_a_flow_under_way_is_sound(bench: Bench, flows: FlowBench) -> None:
    flow = flows.run()
    assert found(bench) == {}
    taken = flows.take()
    assert taken is not None
    assert found(bench) == {}
    flows.settle(taken, 1)
    flows.work()
    assert found(bench, mend=True) == {}
    assert flows.get(flow).state is State.STARTED
    assert flows.of(flow, "ask").state is State.PENDING


def test_step_runs_that_wait_need_a_worker(bench: Bench, flows: FlowBench) -> None:
    flows.run()
    check = next(check for check in check_workers(bench.ledger, {"runner": "1"}) if check.name == "workers")
    assert check.what.startswith("4 runs waiting, and no worker is alive")


def test_a_flow_that_has_ended_is_sound(bench: Bench, flows: FlowBench) -> None:
    flow = flows.run()
    flows.work()
    bench.make_expire(step_run_id(flow, "ask"))
    bench.beat()
    flows.drain()
    assert flows.get(flow).final
    assert found(bench, mend=True) == {}


def test_a_flow_that_the_beat_would_not_look_at_is_found(bench: Bench, flows: FlowBench) -> None:
    flow = flows.submit()
    flows.begin(flow)
    bench.ledger.client.delete(bench.ledger.keys.flows, bench.ledger.keys.outbox)
    assert found(bench) == {"indexes": 1}
    assert found(bench, mend=True) == {"indexes": 1}
    assert found(bench) == {}
    bench.beat()
    flows.drain()
    flows.work()
    assert flows.steps(flow)["b"] == "SUCCESS"


def test_bits_that_were_lost_are_found_and_written_anew(bench: Bench, flows: FlowBench) -> None:
    flow = flows.run()
    for state in STEP_STATES:
        bench.ledger.client.delete(bench.ledger.keys.flow_states(flow, state))
    # A step whose runs nobody counts has not ended.
    assert flows.steps(flow)["a"] == "PENDING"
    assert found(bench, mend=True) == {"indexes": 4}
    assert found(bench) == {}
    flows.work()
    assert flows.steps(flow)["b"] == "SUCCESS"


@pytest.mark.parametrize("state", ["PENDING", "STARTED"])
def test_a_flow_goes_on_without_a_step_run_that_the_doctor_removed(bench: Bench, flows: FlowBench, state: str) -> None:
    flow = flows.run()
    if state == "STARTED":
        while (taken := flows.take()) is not None and taken.run.id != step_run_id(flow, "a", 0):
            flows.settle(taken, 1)
    bench.ledger.client.hset(bench.ledger.keys.run(step_run_id(flow, "a", 0)), "submitted_at", "soon")
    assert found(bench, mend=True)["records"] == 1
    assert found(bench, mend=True).keys() <= {"claims"}
    flows.work()
    ended = flows.get(flow)
    assert (ended.state, ended.reason) == (State.STARTED, None)
    assert ended.steps is not None
    assert {step["name"]: step["state"] for step in ended.steps} == {"a": "FAILURE", "ask": "PENDING", "b": "REVOKED"}


def test_a_message_of_a_flow_that_has_begun_starts_nothing(bench: Bench, flows: FlowBench) -> None:
    flow = flows.submit()
    [message] = bench.ledger.client.lrange(f"{bench.ledger.namespace}:queue:default:5", 0, -1)
    flows.begin(flow)
    flows.advance(flow)
    before = flows.get(flow)
    bench.ledger.client.rpush(f"{bench.ledger.namespace}:queue:default:5", message)
    assert found(bench) == {"duplicate-messages": 1}
    taken = flows.take()
    assert taken is not None
    assert taken.run.step == "a"
    assert (flows.get(flow).losses, flows.get(flow).attempts) == (before.losses, before.attempts)


def test_a_step_run_among_other_runs_is_a_stray(bench: Bench, flows: FlowBench) -> None:
    flow = flows.run()
    keys, step = bench.ledger.keys, step_run_id(flow, "a", 0)
    bench.ledger.client.zadd(keys.state("PENDING"), {step: 1})
    bench.ledger.client.zadd(keys.named("prunable"), {step: 2**50})
    bench.ledger.client.zadd(keys.step_state("PENDING"), {flow: 1})
    assert found(bench, mend=True) == {"strays": 3}
    assert found(bench) == {}


# -- damage


def write(key: Callable[[Ledger, str], str], kind: str) -> Callable[[Bench, str], None]:
    """Return a damage that writes something of another type."""

    def damage(bench: Bench, flow: str) -> None:
        name, client = key(bench.ledger, flow), bench.ledger.client
        client.delete(name)
        if kind == "text":
            client.set(name, "x")
        elif kind == "list":
            client.rpush(name, "x")

    return damage


def field(name: str, value: str) -> Callable[[Bench, str], None]:
    """Return a damage to a field of the flow's hash."""
    return lambda bench, flow: bench.ledger.client.hset(bench.ledger.keys.flow(flow), name, value)  # type: ignore[return-value]


def record(name: str, value: str) -> Callable[[Bench, str], None]:
    """Return a damage to a field of the flow's record."""
    return lambda bench, flow: bench.ledger.client.hset(bench.ledger.keys.run(flow), name, value)  # type: ignore[return-value]


DAMAGES: dict[str, Callable[[Bench, str], None]] = {
    "no hash": write(lambda ledger, flow: ledger.keys.flow(flow), "none"),
    "a hash that is text": write(lambda ledger, flow: ledger.keys.flow(flow), "text"),
    "a list that is text": write(lambda ledger, flow: ledger.keys.flow_runs(flow), "text"),
    "no list": write(lambda ledger, flow: ledger.keys.flow_runs(flow), "none"),
    "a short list": write(lambda ledger, flow: ledger.keys.flow_runs(flow), "list"),
    "a version that is none": field("version", "x"),
    "a first that is none": field("first:a", "-1"),
    "a first that is far": field("first:a", "9999999999"),
    "a number of items that is none": field("items:a", "many"),
    "fewer items": field("items:a", "1"),
    "more items": field("items:a", "30"),
    "more that are made": field("made:a", "30"),
    "a slot that is none": record("slot", "9" * 20),
    "a slot beyond all calendars": record("slot", "9" * 14),
    "a step of which nobody knows": field("first:x", "0"),
    "a deadline that is none": field("deadline", "soon"),
    "news that are none": field("news", "none"),
    "a graph that is no JSON": record("graph", "{"),
    "a graph without steps": record("graph", '{"task": "m:a"}'),
    "a graph that is a list": record("graph", "[]"),
    "a graph of unknown options": record("graph", '{"steps": {"a": {"image": "x"}}}'),
    "a graph with a circle": record(
        "graph", '{"steps": {"a": {"task": "m:a", "needs": ["b"]}, "b": {"task": "m:b", "needs": ["a"]}}}'
    ),
    "params that are none": record("params", "["),
    "a level that is none": record("level", "first"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("when", ["begun", "advanced", "started"])
def test_a_damaged_flow_ends_or_is_told_of_and_stops_no_other(
    bench: Bench, flows: FlowBench, damage: Callable[[Bench, str], None], when: str
) -> None:
    flow = flows.submit()
    flows.begin(flow)
    if when != "begun":
        flows.advance(flow)
    taken = flows.take() if when == "started" else None
    damage(bench, flow)
    # Its step runs end as others do, whatever stands in its keys.
    if taken is not None:
        assert flows.settle(taken, 1)
    other = flows.submit()
    look(bench, flow)
    flows.drain()
    look(bench, flow)
    flows.drain()
    flows.work()
    for flow_id in (other, flow):
        if flows.get(flow_id).state is State.STARTED:
            bench.make_expire(step_run_id(flow_id, "ask"))
    bench.beat()
    for _ in range(3):
        look(bench, flow)
        flows.drain()
    assert flows.get(other).final
    assert flows.steps(other)["b"] == "SUCCESS"
    assert flows.get(flow).final


def test_what_cannot_be_removed_does_not_keep_the_fleet_busy(bench: Bench, flows: FlowBench) -> None:
    flow = flows.run()
    bench.ledger.client.set(bench.ledger.keys.flow_runs(flow), "x")
    flows.work()
    bench.make_expire(step_run_id(flow, "ask"))
    bench.beat()
    for _ in range(3):
        look(bench, flow)
        flows.drain()
    assert flows.get(flow).final
    bench.ledger.forget(flow)
    beats = 0
    while bench.beat().more:
        beats += 1
        assert beats < 10
    assert bench.ledger.client.exists(bench.ledger.keys.named("removed-flows")) == 0


def test_the_step_runs_of_a_flow_that_the_doctor_removed_go_with_it(bench: Bench, flows: FlowBench) -> None:
    flow = flows.run()
    bench.ledger.client.hset(bench.ledger.keys.run(flow), "submitted_at", "soon")
    assert found(bench, mend=True)["records"] == 1
    while bench.beat().more:
        pass
    assert bench.leftovers(step_run_id(flow, "ask")) == []
    assert not list(bench.ledger.client.scan_iter(f"{bench.ledger.namespace}:flow*{flow}*"))


def test_a_step_is_not_handed_what_could_not_be_read(
    bench: Bench, flows: FlowBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {"a": {"task": "m:a"}, "b": {"needs": ["a"], "each": "${steps.a.result}", "task": "m:b"}}
    flows = FlowBench(bench, {"flow": {"steps": steps}})
    flow = flows.run()
    taken = flows.take()
    assert taken is not None
    flows.settle(taken, [1, 2])
    answers = Pipeline.execute

    def refuse(pipe: Pipeline, raise_on_error: bool = True) -> Any:
        found = answers(pipe, raise_on_error)
        return found if raise_on_error else [ResponseError("BUSY Redis is busy running a script") for _ in found]

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "execute", refuse)
        with suppress(Unavailable):
            flows.advance(flow)
    assert flows.step(flow, "b")["items"] is None
    flows.advance(flow)
    assert flows.step(flow, "b")["items"] == 2


def test_whoever_drains_the_outbox_does_so_for_a_while_only(
    bench: Bench, flows: FlowBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    flows = FlowBench(bench, {"flow": {"steps": {"a": {"each": list(range(120)), "task": "m:a"}}}})
    flow = flows.submit()
    flows.begin(flow)
    monkeypatch.setattr(fire, "PATIENCE", 0.0)
    assert flows.drain() == 1
    assert flows.step(flow, "a")["items"] is None
    monkeypatch.setattr(fire, "PATIENCE", 1e-9)
    # Due at once again, not only when what was lent comes back.
    assert flows.drain() == 1
    monkeypatch.undo()
    flows.drain()
    flows.work()
    assert flows.steps(flow) == {"a": "SUCCESS"}


def look(bench: Bench, flow: str) -> None:
    """Let the beat look at a flow now, and its entry be due."""
    client, keys = bench.ledger.client, bench.ledger.keys
    client.zadd(keys.flows, {flow: 1}, xx=True)
    client.zadd(keys.outbox, {f"{flow} advance 1": 1}, xx=True)
    bench.beat()


def test_a_run_under_the_id_of_a_step_run_is_not_taken_for_it(bench: Bench, flows: FlowBench) -> None:
    flow = flows.submit()
    forged = bench.submitted(id=step_run_id(flow, "a", 1)).id
    flows.work()
    assert flows.get(forged).flow is None
    assert flows.step(flow, "a")["counts"] == {"SUCCESS": 2, "FAILURE": 1}
    assert flows.of(flow, "b").reason == "upstream_failed"


def test_an_entry_for_what_is_no_flow_goes(bench: Bench, flows: FlowBench) -> None:
    run = bench.submit()
    client, keys = bench.ledger.client, bench.ledger.keys
    client.zadd(keys.outbox, {f"{run.id} advance 1": 1, "nobody advance 1": 1, "x y advance 1": 1})
    client.zadd(keys.flows, {run.id: 1, "nobody": 1})
    bench.beat()
    flows.drain()
    assert (flows.outbox(), client.zcard(keys.flows)) == ([], 0)
    assert bench.ledger.get(run.id) == run


# -- lost and late


def test_beginning_twice_begins_once(bench: Bench, flows: FlowBench) -> None:
    flow = flows.submit()
    taken = flows.take()
    assert taken is not None
    assert not begin_flow(bench.ledger, flow, "stale")
    assert begin_flow(bench.ledger, flow, taken.token)
    flows.advance(flow)
    # The answer was lost on the way, and it is asked again.
    assert begin_flow(bench.ledger, flow, taken.token)
    assert flows.step(flow, "a")["counts"] == {"PENDING": 3}
    plain = bench.submit()
    assert not begin_flow(bench.ledger, plain.id, bench.start(plain))


def test_a_taker_that_dies_before_it_begins_a_flow_costs_it_nothing(bench: Bench, flows: FlowBench) -> None:
    flow = flows.submit()
    for _ in range(5):
        taken = flows.take()
        assert taken is not None
        bench.let_leases_end(taken.token)
        bench.beat()
        bench.make_due(flow)
    flows.work()
    assert flows.steps(flow)["b"] == "SUCCESS"


def test_an_ending_while_the_flow_is_read_is_not_lost(bench: Bench, flows: FlowBench) -> None:
    flow = flows.run()
    taken = [flows.take() for _ in range(3)]
    read = read_flow(bench.ledger, flow)
    assert read is not None
    for attempt in taken:
        assert attempt is not None
        flows.settle(attempt, 1)
    assert not rest_flow(bench.ledger, read)
    assert flows.outbox() == [flow]
    flows.advance(flow)
    assert flows.outbox() == []
    assert flows.steps(flow)["b"] == "PENDING"
    assert flows.step(flow, "b")["counts"] == {"PENDING": 1}


def test_settling_twice_counts_once(bench: Bench, flows: FlowBench) -> None:
    flow = flows.run()
    taken = flows.take()
    assert taken is not None
    assert [flows.settle(taken, 1) for _ in range(3)] == [1, 0, 0]
    assert flows.settle(taken, ValueError("no")) == 0
    assert flows.step(flow, "a")["counts"] == {"PENDING": 2, "SUCCESS": 1}


class Killed(Exception):
    """The process of whoever advances a flow is gone."""


SCRIPTS = ("advance", "read_flow", "rest_flow", "end_flow", "stop_step", "begin_flow")


@pytest.mark.parametrize("lost", [False, True], ids=["before", "after"])
def test_a_kill_around_every_script_loses_and_doubles_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, lost: bool
) -> None:
    """Whoever advances is killed at another script each time: before it, or after it, when its answer is lost."""
    steps = {**STEPS, "ask": {"task": "m:ask"}, "c": {"needs": ["b", "ask"], "job": "inner"}}
    flows = FlowBench(bench, {"flow": {"steps": steps}, "inner": {"steps": {"y": {"task": "m:y"}}}})
    script, left = Ledger.script, 0

    def dies(self: Ledger, name: str, *args: Any) -> Any:
        nonlocal left
        left -= name in SCRIPTS
        killed = name in SCRIPTS and left == 0
        answer = script(self, name, *args) if lost or not killed else None
        if killed:
            raise Unavailable("killed")
        return answer

    monkeypatch.setattr(Ledger, "script", dies)
    flow = flows.submit()
    kills = 0
    while not flows.get(flow).final:
        kills += 1
        assert kills < 200
        left = 1 + kills % 6
        with suppress(Unavailable):
            flows.drain()
            flows.work()
        left = 0
        make_all_due(bench)
    assert flows.get(flow).state is State.SUCCESS
    assert sorted(flows.started) == [("a", 0), ("a", 1), ("a", 2), ("ask", None), ("b", None), ("y", None)]
    assert flows.outbox() == []


def make_all_due(bench: Bench) -> None:
    """Let the leases of the dead end, and all come that is waited for."""
    client, keys = bench.ledger.client, bench.ledger.keys
    if held := texts(client.hkeys(keys.claims)):
        bench.let_leases_end(*held)
    bench.beat()
    for key in (keys.delayed, keys.flows, keys.outbox):
        entries = texts(client.zrange(key, 0, -1))
        if entries:
            client.zadd(key, dict.fromkeys(entries, 1))
    bench.beat()


# -- plain runs


def test_a_plain_run_pays_nothing_for_flows(bench: Bench) -> None:
    """No command of all that a run goes through touches what flows have."""
    client = bench.ledger.client
    with client.monitor() as monitor:
        run, _ = bench.end(State.SUCCESS)
        bench.end(State.FAILURE)
        bench.ledger.forget(run.id)
        client.echo("over")
        seen = []
        for call in monitor.listen():
            if call["command"].startswith("ECHO"):
                break
            if call["client_type"] == "lua":
                seen.append(str(call["command"]))
    assert any("ZADD" in command for command in seen)
    assert [
        command for command in seen if ":flow" in command or ":step" in command or ":removed-flows" in command
    ] == []


def test_progress_is_read_of_whatever_stands_there() -> None:
    assert FlowProgress.of([], []).damaged
    assert not FlowProgress.of(["version", "0", "news", "0"], []).damaged
    held = ["version", "1", "news", "2", "first:a", "0", "items:a", "2", "made:a", "1"]
    found = FlowProgress.of(held, [["a", 0, 0, 0, 1, 0, 0, 0, 0]])
    assert (found.damaged, found.steps["a"].open, found.steps["a"].state) == (False, 1, "STARTED")
