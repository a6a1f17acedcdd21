"""Flows on a real server, without a worker: what runs, in which order, once, whoever advances them and is killed."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from runner.ledger.flow_progress import step_run_id
from runner.ledger.flows import read_results
from runner.model.run import Run, State
from tests.support.bench import Bench
from tests.support.flows import FlowBench

CHAIN: Mapping[str, Any] = {
    "flow": {
        "params": {"day": {"type": "string", "default": "monday"}},
        "steps": {
            "extract": {"task": "m:extract", "kwargs": {"day": "${params.day}"}},
            "load": {"needs": ["extract"], "each": "${steps.extract.result.files}", "task": "m:load"},
            "publish": {"needs": ["load"], "job": "publish", "params": {"rows": "${steps.load.results}"}},
        },
    },
    "publish": {"task": "m:publish", "params": {"rows": {"type": "array", "required": True}}},
}


def one(**step: Any) -> dict[str, Any]:
    """Return jobs with a flow of the step `a`, and the step `b` after it."""
    return {
        "flow": {"steps": {"a": {"task": "m:a", **step}, "b": {"needs": ["a"], "task": "m:b"}}},
        "other": {"task": "m:other"},
    }


def test_a_flow_runs_its_steps_in_order_and_succeeds(bench: Bench) -> None:
    flows = FlowBench(bench, CHAIN)
    flow = flows.submit(params={"day": "monday"})
    assert (flows.get(flow).steps or [])[0]["state"] == "PENDING"

    def behave(run: Run) -> Any:
        return {"extract": {"files": ["x", "y", "z"]}, "load": 7}.get(run.step or "", run.params)

    assert flows.work(behave) == 6
    run = flows.get(flow)
    assert (run.state, run.reason, run.error) == (State.SUCCESS, None, None)
    assert flows.started == [("extract", None), ("load", 0), ("load", 1), ("load", 2), ("publish", None)]
    assert flows.steps(flow) == {"extract": "SUCCESS", "load": "SUCCESS", "publish": "SUCCESS"}
    assert run.progress == {"fraction": 1.0, "message": "3 of 3 steps"}
    assert flows.outbox() == []
    load = flows.step(flow, "load")
    assert (load["items"], load["counts"], load["run"]) == (3, {"SUCCESS": 3}, None)
    assert load["started_at"] <= load["finished_at"]
    last = flows.of(flow, "publish")
    assert (last.job, last.trigger, last.flow, last.step, last.item) == ("publish", "flow", flow, "publish", None)
    assert last.result == {"rows": [7, 7, 7]}
    second = flows.of(flow, "load", 1)
    assert (second.job, second.item, second.params) == ("flow/load", 1, {"item": "y"})
    assert flows.of(flow, "extract").params == {"day": "monday"}


def test_a_flow_that_has_begun_is_held_by_nobody(bench: Bench) -> None:
    flows = FlowBench(bench, CHAIN)
    flow = flows.run()
    run = flows.get(flow)
    assert (run.state, run.worker, bench.held()) == (State.STARTED, None, 0)
    assert flows.steps(flow) == {"extract": "PENDING", "load": "PENDING", "publish": "PENDING"}
    assert run.progress == {"fraction": 0.0, "message": "0 of 3 steps"}


def test_a_failed_step_fails_the_flow_and_what_needs_it(bench: Bench) -> None:
    flows = FlowBench(bench, one())
    flow = flows.run()
    flows.work(lambda _: ValueError("no"))
    run = flows.get(flow)
    assert (run.state, run.reason) == (State.FAILURE, "step_failed")
    assert run.error == {"type": "StepFailed", "message": "a failed", "traceback": None}
    assert flows.steps(flow) == {"a": "FAILURE", "b": "REVOKED"}
    assert flows.of(flow, "b").reason == "upstream_failed"
    assert flows.step(flow, "b")["reason"] == "upstream_failed"


def test_a_step_that_may_fail_does_not_fail_the_flow(bench: Bench) -> None:
    flows = FlowBench(bench, one(may_fail=True))
    flow = flows.run()
    flows.work(lambda run: ValueError("no") if run.step == "a" else 1)
    assert flows.get(flow).state is State.SUCCESS
    assert flows.steps(flow) == {"a": "FAILURE", "b": "SUCCESS"}


def test_a_condition_that_is_false_skips_a_step(bench: Bench) -> None:
    steps = {
        "a": {"task": "m:a"},
        "b": {"needs": ["a"], "if": "${steps.a.result.ok}", "task": "m:b"},
        "c": {"needs": ["b"], "task": "m:c"},
    }
    flows = FlowBench(bench, {"flow": {"steps": steps}})
    flow = flows.run()
    flows.work(lambda run: {"ok": False})
    assert flows.get(flow).state is State.SUCCESS
    assert flows.steps(flow) == {"a": "SUCCESS", "b": "REVOKED", "c": "SUCCESS"}
    assert flows.of(flow, "b").reason == "skipped"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"if": "${steps.a.result.no}"}, "no"),
        ({"if": "${steps.a.result.text}"}, "true or false"),
        ({"each": "${steps.a.result.text}"}, "list"),
        ({"each": "${steps.a.result.gone}"}, "gone"),
    ],
)
def test_a_value_that_cannot_be_used_fails_the_step(bench: Bench, step: dict[str, Any], words: str) -> None:
    steps = {"a": {"task": "m:a"}, "b": {"needs": ["a"], "task": "m:b", **step}}
    flows = FlowBench(bench, {"flow": {"steps": steps}})
    flow = flows.run()
    flows.work(lambda _: {"text": "yes"})
    run = flows.of(flow, "b", 0 if "each" in step else None)
    assert (run.state, run.reason) == (State.FAILURE, "invalid_params")
    assert run.error is not None
    assert words in run.error["message"]
    assert flows.get(flow).reason == "step_failed"


def test_params_that_do_not_fit_fail_their_item_alone(bench: Bench) -> None:
    jobs: dict[str, Any] = {
        "flow": {"steps": {"a": {"each": [1, "two", 3], "job": "other", "params": {"n": "${item}"}}}},
        "other": {"task": "m:other", "params": {"n": {"type": "integer"}}},
    }
    flows = FlowBench(bench, jobs)
    flow = flows.run()
    flows.work()
    assert [flows.of(flow, "a", item).state for item in range(3)] == ["SUCCESS", "FAILURE", "SUCCESS"]
    error = flows.get(flow).error
    assert error is not None
    assert error["message"] == "a failed (1 of 3 items)"


def test_no_items_are_a_success(bench: Bench) -> None:
    flows = FlowBench(bench, one(each=[]))
    flow = flows.run()
    flows.work()
    assert flows.steps(flow) == {"a": "SUCCESS", "b": "SUCCESS"}
    assert read_results(bench.ledger, flow)["a"].results == []


def test_results_are_read_by_reference_in_the_order_of_the_items(bench: Bench) -> None:
    flows = FlowBench(bench, one(each=list(range(120)), may_fail=True))
    flow = flows.run()
    flows.work(lambda run: ValueError("no") if run.item == 5 else run.params["item"] * 2, most=120)
    found = read_results(bench.ledger, flow)["a"]
    assert found.results == [None if item == 5 else item * 2 for item in range(120)]
    assert found.state == "FAILURE"


# -- whoever advances


def test_advancing_twice_makes_nothing_twice(bench: Bench) -> None:
    flows = FlowBench(bench, CHAIN)
    flow = flows.submit()
    flows.begin(flow)
    assert flows.advance(flow)
    assert not flows.advance(flow)
    assert bench.messages() == [step_run_id(flow, "extract")]


def test_many_who_advance_at_once_make_each_run_once(bench: Bench) -> None:
    flows = FlowBench(bench, one(each=list(range(300))))
    flow = flows.submit()
    flows.begin(flow)
    with ThreadPoolExecutor(8) as herd:
        list(herd.map(lambda _: flows.advance(flow), range(16)))
    waiting = bench.messages()
    assert len(waiting) == len(set(waiting)) == 300
    assert flows.step(flow, "a")["counts"] == {"PENDING": 300}
    flows.work()
    assert flows.get(flow).state is State.SUCCESS
    assert len(flows.started) == len(set(flows.started)) == 301


def test_nothing_is_stuck_if_who_settles_never_advances(bench: Bench) -> None:
    """As where it is killed after each script: what it leaves in the outbox is done by others."""
    flows = FlowBench(bench, CHAIN)
    flow = flows.submit()
    while flows.work(lambda run: {"files": ["x", "y"]}, advances=False):
        assert flows.outbox() == [flow]
        bench.ledger.client.zadd(bench.ledger.keys.outbox, {f"{flow} advance 1": 0}, xx=True)
        flows.drain()
    assert flows.get(flow).state is State.SUCCESS
    assert len(flows.started) == 4
