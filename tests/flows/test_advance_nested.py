"""Flows in flows, steps with thousands of items, results that are reused, approvals, and what is kept."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import RunnerError, UnknownRun
from runner.ledger.flow_progress import step_run_id
from runner.ledger.flows import MADE_AT_ONCE, STOPPED_AT_ONCE, read_results
from runner.ledger.ledger import Ledger
from runner.model.run import State
from tests.support.bench import Bench
from tests.support.flows import FlowBench

LEVELS: dict[str, Any] = {
    "flow": {"steps": {"s": {"job": "two"}, "after": {"needs": ["s"], "task": "m:after"}}},
    "two": {"steps": {"s": {"each": [1, 2], "job": "three"}}},
    "three": {"steps": {"s": {"job": "four"}}},
    "four": {"steps": {"s": {"task": "m:four"}}},
}


def deepest(flow: str, item: int) -> str:
    """Return the flow of the fourth level."""
    two = step_run_id(flow, "s")
    return step_run_id(step_run_id(two, "s", item), "s")


def test_flows_of_four_levels_end_from_the_inside_out(bench: Bench) -> None:
    flows = FlowBench(bench, LEVELS)
    flow = flows.submit()
    flows.work()
    run = flows.get(flow)
    assert (run.state, flows.steps(flow)) == (State.SUCCESS, {"s": "SUCCESS", "after": "SUCCESS"})
    fourth = flows.get(deepest(flow, 1))
    assert (fourth.job, fourth.state, fourth.flow) == (
        "four",
        State.SUCCESS,
        step_run_id(step_run_id(flow, "s"), "s", 1),
    )
    assert flows.outbox() == []


def test_a_failure_on_the_fourth_level_fails_the_first(bench: Bench) -> None:
    flows = FlowBench(bench, LEVELS)
    flow = flows.submit()
    flows.work(lambda run: ValueError("no") if run.flow == deepest(flow, 0) else 1)
    assert flows.get(flow).reason == "step_failed"
    assert flows.of(flow, "after").reason == "upstream_failed"
    assert (flows.get(deepest(flow, 0)).state, flows.get(deepest(flow, 1)).state) == ("FAILURE", "SUCCESS")


@pytest.mark.parametrize("terminate", [False, True])
def test_revoking_reaches_the_fourth_level(bench: Bench, *, terminate: bool) -> None:
    flows = FlowBench(bench, LEVELS)
    flow = flows.submit()
    flows.work(most=6)
    taken = flows.take()
    assert taken is not None
    if taken.run.steps is not None:
        flows.bench.ledger.script("begin_flow", taken.run.id, taken.token)
        flows.advance(taken.run.id)
        taken = flows.take()
        assert taken is not None
    bench.ledger.revoke(flow, by="anna", terminate=terminate)
    while flows.outbox():
        flows.drain()
    assert bench.beat().terminating == ({taken.run.id: "TERM"} if terminate else {})
    if terminate:
        bench.attempts.lose(taken.run.id, taken.token, {"worker": "w1"})
    else:
        flows.settle(taken, 1)
    while flows.outbox():
        flows.drain()
    run = flows.get(flow)
    assert (run.state, run.reason) == (State.REVOKED, "terminated" if terminate else "cancelled")
    assert flows.work() == 0


def test_a_fifth_level_is_refused(bench: Bench) -> None:
    jobs = {**LEVELS, "four": {"steps": {"s": {"job": "five"}}}, "five": {"steps": {"s": {"task": "m:five"}}}}
    flows = FlowBench(bench, jobs)
    flow = flows.submit()
    flows.work()
    refused = flows.of(deepest(flow, 0), "s")
    assert (refused.state, refused.reason) == (State.FAILURE, "invalid_params")
    assert flows.get(flow).reason == "step_failed"


def refusal(flows: FlowBench, flow: str) -> str:
    """Return the reason why step a, and with it the flow, failed."""
    run = flows.of(flow, "a")
    assert (run.job, run.state, run.reason) == ("other", State.FAILURE, "unknown_job")
    assert flows.get(flow).state is State.FAILURE
    return str((run.error or {})["message"])


def test_a_job_that_is_disabled_fails_its_step(bench: Bench) -> None:
    flows = FlowBench(
        bench, {"flow": {"steps": {"a": {"job": "other"}}}, "other": {"task": "m:other", "enabled": False}}
    )
    assert refusal(flows, flows.run()) == "job other is disabled"


def test_a_step_is_left_to_a_process_that_knows_its_job(bench: Bench) -> None:
    jobs: dict[str, Any] = {
        "flow": {
            "steps": {"a": {"task": "m:a"}, "b": {"needs": ["a"], "job": "other"}, "c": {"needs": ["a"], "task": "m:c"}}
        }
    }
    knowing, other = FlowBench(bench, {**jobs, "other": {"task": "m:other"}}), FlowBench(bench, jobs)
    flow = other.run()
    other.work()
    assert other.steps(flow) == {"a": "SUCCESS", "b": "PENDING", "c": "SUCCESS"}
    assert other.outbox() == [flow]
    assert not other.advance(flow)
    assert other.outbox() == [flow]
    assert knowing.advance(flow)
    knowing.work()
    assert (knowing.get(flow).state, knowing.outbox()) == (State.SUCCESS, [])


def test_a_job_that_nobody_knows_fails_its_step_in_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    flows = FlowBench(bench, {"flow": {"steps": {"a": {"job": "other"}}}})
    flow = flows.run()
    assert flows.steps(flow) == {"a": "PENDING"}
    monkeypatch.setattr("runner.flows.admitting.UNKNOWN_JOB_PATIENCE", 0.0)
    assert flows.advance(flow)
    assert "other" in refusal(flows, flow)


# -- many items


def test_ten_thousand_items_are_made_in_portions_and_joined_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []
    script = Ledger.script

    def count(self: Ledger, name: str, *args: Any) -> Any:
        calls.append((name, len(args)))
        return script(self, name, *args)

    monkeypatch.setattr(Ledger, "script", count)
    steps = {"a": {"each": "${params.n}", "task": "m:a"}, "b": {"needs": ["a"], "task": "m:b"}}
    flows = FlowBench(bench, {"flow": {"params": {"n": {"type": "array"}}, "steps": steps}})
    flow = flows.submit(params={"n": list(range(10_000))})
    flows.begin(flow)
    calls.clear()
    flows.advance(flow)
    made = [size for name, size in calls if name == "advance"]
    assert len(made) == 10_000 / MADE_AT_ONCE
    # The number of arguments for each run is bounded.
    assert max(made) < 40 + MADE_AT_ONCE * 10
    assert flows.step(flow, "a")["counts"] == {"PENDING": 10_000}
    calls.clear()
    bench.ledger.revoke(flow, by="anna")
    while flows.drain():
        pass
    assert sum(name == "stop_step" for name, _ in calls) <= 10_000 / STOPPED_AT_ONCE + 1
    assert flows.get(flow).state is State.REVOKED
    assert flows.step(flow, "a")["counts"] == {"REVOKED": 10_000}


def test_a_flow_that_is_revoked_while_items_are_made_makes_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {"a": {"each": list(range(1000)), "task": "m:a"}, "b": {"needs": ["a"], "task": "m:b"}}
    flows = FlowBench(bench, {"flow": {"steps": steps}})
    flow = flows.submit()
    flows.begin(flow)
    script, made = Ledger.script, 0

    def revoke_soon(self: Ledger, name: str, *args: Any) -> Any:
        nonlocal made
        made += name == "advance"
        if made == 3:
            made += 1
            script(self, "revoke", flow, "anna", "", "", "TERM")
        return script(self, name, *args)

    monkeypatch.setattr(Ledger, "script", revoke_soon)
    flows.advance(flow)
    assert flows.get(flow).state is State.REVOKED
    a = flows.step(flow, "a")
    assert (a["items"], a["counts"]) == (2 * MADE_AT_ONCE + 1, {"REVOKED": 2 * MADE_AT_ONCE + 1})


# -- reuse


def reusing(flows: FlowBench, before: str, name: str = "flow") -> str:
    """Submit a flow that takes results of another."""
    return flows.submit(name, reuse=before, rerun_of=before)


JOIN: dict[str, Any] = {
    "flow": {
        "steps": {
            "a": {"task": "m:a"},
            "b": {"each": "${steps.a.result}", "needs": ["a"], "task": "m:b"},
            "c": {"needs": ["b"], "task": "m:c", "kwargs": {"all": "${steps.b.results}"}},
            "d": {"needs": ["c"], "task": "m:d"},
        },
    },
}


def test_what_has_succeeded_before_is_taken_over(bench: Bench) -> None:
    flows = FlowBench(bench, JOIN)
    first = flows.submit()
    flows.work(lambda run: [1, 2, 3] if run.step == "a" else ValueError("no") if run.step == "c" else run.item)
    flows.started.clear()
    second = reusing(flows, first)
    flows.work()
    assert flows.started == [("c", None), ("d", None)]
    assert flows.get(second).state is State.SUCCESS
    assert flows.of(second, "b", 2).reused_from == step_run_id(first, "b", 2)
    assert flows.of(second, "b", 2).result == 2
    assert flows.of(second, "c").reused_from is None


def test_what_uses_a_result_that_is_new_runs_anew(bench: Bench) -> None:
    flows = FlowBench(bench, JOIN)
    first = flows.submit()
    flows.work(lambda run: [1, 2] if run.step == "a" else ValueError("no") if run.item == 1 else 7)
    flows.started.clear()
    second = reusing(flows, first)
    flows.work()
    # c is needed anew since b has a new result; d takes nothing from c, but did not succeed before.
    assert flows.started == [("b", 1), ("c", None), ("d", None)]
    assert flows.of(second, "b", 0).reused_from == step_run_id(first, "b", 0)


SKIPPING: dict[str, Any] = {
    "flow": {
        "steps": {
            "a": {"task": "m:a"},
            "b": {"needs": ["a"], "if": "${steps.a.result}", "task": "m:b"},
            "c": {"needs": ["b"], "task": "m:c"},
            "d": {"task": "m:d"},
            "undo": {"needs": ["c"], "when": "failed", "task": "m:undo"},
            "tidy": {"needs": ["undo"], "when": "ended", "task": "m:tidy"},
        },
    },
}


@pytest.mark.parametrize("changed", [False, True])
def test_what_needs_a_step_that_was_skipped_runs_anew_only_if_that_hangs_on_something_new(
    bench: Bench, *, changed: bool
) -> None:
    flows = FlowBench(bench, SKIPPING)
    first = flows.submit()
    failing = "a" if changed else "d"
    flows.work(lambda run: ValueError("no") if run.step == failing else False)
    if changed:
        # Of the failed `a` all but the cleanup is left.
        assert flows.steps(first)["c"] is State.REVOKED
    flows.started.clear()
    second = reusing(flows, first)
    flows.work(lambda _: False)
    assert flows.get(second).state is State.SUCCESS
    assert flows.steps(second)["b"] is State.REVOKED
    anew = [step for step, _ in flows.started]
    assert sorted(anew) == (["a", "c", "tidy"] if changed else ["d"])
    assert (flows.of(second, "c").reused_from is None) is changed


def test_a_result_that_is_taken_over_is_no_new_success_of_its_job(bench: Bench) -> None:
    jobs: dict[str, Any] = {
        "flow": {"steps": {"e": {"job": "extract"}, "s": {"job": "sub"}, "f": {"needs": ["e", "s"], "task": "m:f"}}},
        "extract": {"task": "m:e", "hooks": {"success": ["publish"]}, "pause_after": 2},
        "publish": {"task": "m:p", "params": {"run": {"type": "object"}}},
        "sub": {"steps": {"x": {"task": "m:x"}}},
    }
    flows = FlowBench(bench, jobs)
    first = flows.submit()
    flows.work(lambda run: ValueError("no") if run.step == "f" else None)
    keys, client = bench.ledger.keys, bench.ledger.client
    client.delete(keys.outbox)
    client.hset(keys.succeeded, "extract", "1000")
    second = reusing(flows, first)
    flows.work()
    assert flows.of(second, "e").reused_from == step_run_id(first, "e")
    assert client.hget(keys.succeeded, "extract") == "1000"
    assert not [entry for entry in client.zrange(keys.outbox, 0, -1) if " success " in entry]
    sub = flows.of(second, "s")
    assert sub.reused_from is not None
    assert [(step["state"], step["reason"]) for step in sub.steps or []] == [("SUCCESS", None)]


def test_a_step_that_has_changed_runs_anew_with_those_that_need_it(bench: Bench) -> None:
    flows = FlowBench(bench, JOIN)
    first = flows.submit()
    flows.work(lambda run: [1] if run.step == "a" else 7)
    changed = {**JOIN["flow"]["steps"], "b": {**JOIN["flow"]["steps"]["b"], "kwargs": {"fast": True}}}
    flows = FlowBench(bench, {"flow": {"steps": changed}})
    second = reusing(flows, first)
    flows.work()
    # d takes nothing from c, but what it had done it had done after the other c.
    assert flows.started == [("b", 0), ("c", None), ("d", None)]
    assert flows.of(second, "a").reused_from == step_run_id(first, "a")


def test_results_of_a_flow_that_was_forgotten_are_not_missed(bench: Bench) -> None:
    flows = FlowBench(bench, JOIN)
    first = flows.submit()
    flows.work(lambda run: [1] if run.step == "a" else 7)
    bench.ledger.forget(first)
    while bench.beat().more:
        pass
    second = reusing(flows, first)
    flows.work(lambda run: [1] if run.step == "a" else 7)
    assert flows.get(second).state is State.SUCCESS
    assert len(flows.started) == 8


def test_runs_that_are_no_steps_of_that_flow_are_not_reused(bench: Bench) -> None:
    """As where somebody else has written a run under an id that follows from the flow."""
    flows = FlowBench(bench, JOIN)
    first = flows.submit()
    forged = bench.submitted(id=step_run_id(first, "a"), job=bench.job("flow"))
    bench.attempts.succeed(forged.id, bench.start(bench.ledger.get(forged.id)), "[666]")
    second = reusing(flows, first)
    flows.work(lambda run: [1] if run.step == "a" else 7)
    assert flows.of(second, "a").result == [1]


# -- approvals


APPROVAL: dict[str, Any] = {
    "flow": {
        "steps": {
            "ask": {"approval": {"within": "12h"}},
            "go": {"needs": ["ask"], "task": "m:go"},
            "clean": {"needs": ["go"], "when": "ended", "task": "m:clean"},
        },
    },
}


def test_an_approval_waits_without_a_message(bench: Bench) -> None:
    flows = FlowBench(bench, APPROVAL)
    flow = flows.run()
    run = flows.of(flow, "ask")
    assert (run.job, run.state, run.detail) == ("flow/ask", State.PENDING, "waits for approval")
    assert (bench.messages(), run.expires_at is not None) == ([], True)
    assert flows.steps(flow)["ask"] == "PENDING"


def test_an_approval_that_nobody_answers_expires(bench: Bench) -> None:
    flows = FlowBench(bench, APPROVAL)
    flow = flows.run()
    bench.make_expire(step_run_id(flow, "ask"))
    bench.beat()
    flows.drain()
    flows.work()
    assert flows.of(flow, "ask").reason == "expired"
    assert flows.get(flow).reason == "step_failed"
    assert flows.started == [("clean", None)]


def test_revoking_a_flow_ends_its_approval(bench: Bench) -> None:
    flows = FlowBench(bench, APPROVAL)
    flow = flows.run()
    bench.ledger.revoke(flow, by="anna")
    flows.drain()
    assert flows.get(flow).state is State.REVOKED
    assert bench.ledger.client.zcard(f"{bench.ledger.namespace}:expiring") == 0


# -- what is kept


def gone(flows: FlowBench, flow: str) -> None:
    """Let the fleet remove what is to be removed, and look for what is left."""
    while flows.bench.beat().more:
        pass
    assert flows.bench.leftovers(flow) == []
    kept = [key for key in flows.all_keys() if ":run:" in key or ":flow" in key or "step" in key or ":removed" in key]
    assert kept == []


def test_everything_of_a_flow_goes_when_it_is_forgotten(bench: Bench) -> None:
    flows = FlowBench(bench, {**LEVELS, "three": {"steps": {"s": {"each": list(range(40)), "task": "m:three"}}}})
    flow = flows.submit()
    flows.work()
    assert flows.get(flow).state is State.SUCCESS
    with pytest.raises(RunnerError):
        bench.ledger.forget(step_run_id(flow, "s"))
    bench.ledger.forget(flow, by="anna")
    with pytest.raises(UnknownRun):
        flows.get(flow)
    gone(flows, flow)


def test_everything_of_a_flow_goes_when_it_is_too_old(bench: Bench) -> None:
    flows = FlowBench(bench, LEVELS)
    flow = flows.submit()
    flows.work()
    bench.ledger.client.zadd(f"{bench.ledger.namespace}:prunable", {flow: 1}, xx=True)
    gone(flows, flow)


def test_everything_of_a_flow_goes_when_there_are_too_many(bench: Bench) -> None:
    flows = FlowBench(bench, {"flow": {**JOIN["flow"], "retention": {"runs": 1, "keep_at_least": "0s"}}})
    first = flows.submit()
    flows.work(lambda run: [1] if run.step == "a" else 7)
    second = flows.submit()
    flows.work(lambda run: [1] if run.step == "a" else 7)
    while bench.beat().more:
        pass
    with pytest.raises(UnknownRun):
        flows.get(first)
    assert bench.leftovers(first) == []
    assert flows.of(second, "a").state is State.SUCCESS


def test_step_runs_stay_as_long_as_their_flow_whatever_their_jobs_keep(bench: Bench) -> None:
    jobs: dict[str, Any] = {
        "flow": {"steps": {"a": {"each": [1, 2, 3], "job": "other"}}},
        "other": {"task": "m:other", "retention": {"runs": 1, "keep_at_least": "0s", "result": "1s", "history": "1s"}},
    }
    flows = FlowBench(bench, jobs)
    flow = flows.submit()
    flows.work(lambda run: run.item)
    for _ in range(2):
        bench.end(State.SUCCESS, job=flows.jobs["other"])
        bench.beat()
    assert read_results(bench.ledger, flow)["a"].results == [0, 1, 2]
    assert [flows.of(flow, "a", item).result for item in range(3)] == [0, 1, 2]
    assert bench.ledger.client.ttl(f"celery-task-meta-{step_run_id(flow, 'a', 0)}") == -1


def test_step_runs_are_not_listed_with_the_other_runs(bench: Bench) -> None:
    flows = FlowBench(bench, LEVELS)
    flow = flows.submit()
    flows.work()
    assert [run.id for run in bench.ledger.runs()] == [flow]
    assert bench.ledger.runs(job="four") == []
    assert [run.flow for run in bench.ledger.runs(job="four/s")] == [deepest(flow, 1), deepest(flow, 0)]
    assert bench.ledger.resolve(step_run_id(flow, "after")[:12]) == step_run_id(flow, "after")
