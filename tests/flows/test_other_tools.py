"""What went wrong with flows of other tools, told by their users, does not here: the part that the decision shows.

Each test names the report. What needs workers and Redis as well is shown by the tests of those.
"""

from __future__ import annotations

import itertools
from random import Random

import pytest

from runner.flows.decide import Decision, Outcome, StepState, decide
from runner.model.run import State
from tests.flows.graphs import FAILED, REVOKED, STARTED, SUCCEEDED, chain, decided, node, runs
from tests.flows.history import World
from tests.flows.reference import Plan

JOIN = {"header": node(), "body": node("header")}


def test_a_join_never_misses_its_last_run() -> None:
    """celery#4207: the body of a chord was not always called when its header had ended.

    Each of 100 header tasks ends in any order, some at the same time, and most of the looks are lost.
    """
    for seed in range(50):
        world = World(JOIN, {"header": Plan(("SUCCESS",) * 100), "body": Plan(("SUCCESS",))}, Random(seed))
        world.live()
        assert world.finals()["body"] == ("SUCCESS",)
        assert world.started_before == []


def test_a_join_waits_for_runs_that_are_retried() -> None:
    """celery#2405: the body of a chord was called while tasks of its header were waiting for a retry."""
    assert decided(JOIN, header=runs(SUCCESS=99, RETRY=1)) == Decision()
    assert decided(JOIN, header=runs(SUCCESS=100)).admit == ("body",)


def test_a_join_does_not_count_events() -> None:
    """A run that ends twice, because its message was delivered twice, is one run: nothing counts how often it ended."""
    states = {"header": runs(SUCCESS=2, STARTED=1)}
    assert [decide(JOIN, states) for _ in range(10)] == [Decision()] * 10


def test_a_revoked_run_of_a_join_has_ended() -> None:
    """celery#10526: revoking a task of a header left the chord waiting for it forever."""
    assert decided(JOIN, header=runs(SUCCESS=2, REVOKED=1)).skip == (("body", "upstream_failed"),)
    tolerant = {"header": node(may_fail=True), "body": node("header")}
    assert decided(tolerant, header=runs(SUCCESS=2, REVOKED=1)).admit == ("body",)


def test_a_join_of_joins() -> None:
    """celery#3538: of chords within chords, bodies were called too early, with the wrong results, or never."""
    inner = {"a": node(), "b": node("a"), "c": node(), "d": node("c")}
    graph = {**inner, "e": node("b d"), "f": node("e")}
    plans = {name: Plan(("SUCCESS",) * 3) for name in graph}
    for seed in range(50):
        world = World(graph, plans, Random(seed))
        world.live()
        assert world.end == Outcome(State.SUCCESS, None)
        assert world.started_before == []


@pytest.mark.parametrize("items", [0, 1, 2])
def test_a_join_of_one_or_none_is_a_join(items: int) -> None:
    """celery#3885, celery#9772: headers of one task or none became something else than a chord."""
    assert decided(JOIN, header=runs(SUCCESS=items)).admit == ("body",)


def test_a_failure_within_a_chain_of_joins_ends_all_of_it() -> None:
    """celery#6792: an error in a chord within a chain left the result of the chain pending forever."""
    graph = {"first": node(), "header": node("first"), "body": node("header"), "last": node("body")}
    decision = decided(graph, first=SUCCEEDED, header=runs(SUCCESS=4, FAILURE=1))
    assert decision.skip == (("body", "upstream_failed"), ("last", "upstream_failed"))
    ended = {
        "first": SUCCEEDED,
        "header": runs(SUCCESS=4, FAILURE=1),
        "body": runs(UPSTREAM=1),
        "last": runs(UPSTREAM=1),
    }
    assert decide(graph, ended).end == Outcome(State.FAILURE, "step_failed", ("header",))


def test_a_flow_is_revoked_as_a_whole() -> None:
    """celery#8460: a chain can be revoked only task by task, by the ids of tasks that do not exist yet."""
    graph = {**chain("a", "b", "c", "d"), "w": node()}
    decision = decided(graph, "finish", "cancelled", a=SUCCEEDED, b=STARTED, w=runs(PENDING=1))
    assert decision == Decision(skip=(("c", "cancelled"), ("d", "cancelled")), cancel=("b", "w"))


def test_a_flow_does_not_wait_for_what_will_never_run() -> None:
    """BullMQ#3362: a parent waited forever for its children, since one had failed, unless options said otherwise."""
    graph = {"child": node(), "other": node(), "parent": node("child other")}
    assert decided(graph, child=FAILED, other=STARTED).skip == (("parent", "upstream_failed"),)
    for when, may_fail in itertools.product(("succeeded", "failed", "ended"), (True, False)):
        options = {
            "child": node(may_fail=may_fail),
            "other": node(may_fail=may_fail),
            "parent": node("child other", when),
        }
        plans = {"child": Plan(("FAILURE",)), "other": Plan(("FAILURE",)), "parent": Plan(("SUCCESS",))}
        world = World(options, plans, Random(0))
        world.live()
        ran = when != "succeeded" or may_fail
        assert world.finals()["parent"] == (("SUCCESS",) if ran else ("UPSTREAM",))


@pytest.mark.parametrize("reason", ["exception", "timeout", "worker_lost", "poisoned", "out_of_memory"])
def test_the_way_in_which_a_run_failed_does_not_matter(reason: str) -> None:
    """rq#2006: jobs that may run after a failure did not if the failed one was abandoned by its worker."""
    for when in ("failed", "ended"):
        assert decided({"a": node(), "b": node("a", when)}, a=runs(FAILURE=1)).admit == ("b",), reason


def test_a_flow_ends_once_its_runs_have_ended_whatever_was_noticed_of_that() -> None:
    """argo-workflows#12103: a workflow stayed running after its only pod had completed, since a report was lost."""
    graph = {"only": node()}
    assert decided(graph, only=STARTED) == Decision()
    assert decided(graph, only=SUCCEEDED) == Decision(end=Outcome(State.SUCCESS, None))


def test_a_skipped_step_with_items_is_skipped() -> None:
    """argo-workflows#3378, argo-workflows#6593: with items, or none of them, a step was taken for what it was not."""
    graph = {"a": node(), "on-failure": node("a", "failed"), "always": node("a", "ended")}
    assert decided(graph, a=runs(SKIPPED=1)) == Decision(admit=("always",), skip=(("on-failure", "skipped"),))
    assert decided(graph, a=runs()) == Decision(admit=("always",), skip=(("on-failure", "skipped"),))


def test_steps_after_a_chain_of_skipped_steps() -> None:
    """argo-workflows#10321: what followed a step that was left out because another was skipped never ran."""
    graph = {"a": node(), "b": node("a"), "c": node("b", "failed"), "d": node("c")}
    decision = decided(graph, a=SUCCEEDED, b=runs(SKIPPED=1))
    assert decision == Decision(admit=("d",), skip=(("c", "skipped"),))


def test_other_branches_go_on_by_default_and_are_not_to_blame_if_they_are_stopped() -> None:
    """Kestra 2.0.8 (kestra#18314): a new default ended the siblings of a failed task.

    Those siblings were shown as failed (kestra#19014).
    """
    graph = {"bad": node(), "sibling": node()}
    assert decide(graph, {"bad": FAILED, "sibling": STARTED}) == Decision()
    stopped = decided(graph, "stop", bad=FAILED, sibling=STARTED)
    assert stopped == Decision(terminate=("sibling",))
    assert REVOKED.state is State.REVOKED
    assert decided(graph, "stop", bad=FAILED, sibling=REVOKED).end == Outcome(State.FAILURE, "step_failed", ("bad",))
    # A waiting retry of the sibling is also given up, and does not count as a failure.
    assert decided(graph, "stop", bad=FAILED, sibling=runs(RETRY=1)) == Decision(cancel=("sibling",))


def test_a_stop_lets_cleanup_and_what_follows_it_run_to_its_end() -> None:
    """argo-workflows#2710, argo-workflows#11880: a stop ended exit handlers, or did not wait for them."""
    graph = {"work": node(), "bad": node(), "tidy": node("work", "ended"), "report": node("tidy")}
    states = {"work": REVOKED, "bad": FAILED}
    assert decide(graph, states, on_failure="stop").admit == ("tidy",)
    assert decide(graph, {**states, "tidy": SUCCEEDED}, on_failure="stop").admit == ("report",)
    assert decide(graph, {**states, "tidy": SUCCEEDED, "report": STARTED}, on_failure="stop") == Decision()


def test_a_large_fan_out_is_one_number() -> None:
    """argo-workflows#3907, argo-workflows#4560: thousands of nodes made a look at a workflow too slow to end."""
    many = StepState(10_000, 10_000, {"SUCCESS": 9_999, "STARTED": 1})
    assert decided(JOIN, header=many) == Decision()
