"""Every rule of flows as a table: which steps run, which do not, and how the flow ends."""

from __future__ import annotations

import pytest

from runner.flows.decide import COUNTS, Decision, Outcome, StepState, decide, in_order, waits_for
from runner.model.run import State
from tests.flows.graphs import (
    FAILED,
    NOTHING,
    PENDING,
    RETRY,
    REVOKED,
    SKIPPED,
    STARTED,
    SUCCEEDED,
    UPSTREAM,
    Graph,
    chain,
    decided,
    node,
    runs,
)

ADMITTED = Decision(admit=("b",))
WAITING = Decision()
DONE = Outcome(State.SUCCESS, None)


def skipped(reason: str) -> Decision:
    return Decision(skip=(("b", reason),))  # type: ignore[arg-type]


def test_steps_without_needs_are_admitted_at_once() -> None:
    graph = {"a": node(), "b": node(), "c": node("a b"), "d": node(when="ended"), "e": node(when="failed")}
    assert decided(graph) == Decision(admit=("a", "b", "d", "e"))


def test_a_flow_without_steps_succeeds() -> None:
    assert decided({}) == Decision(end=DONE)


@pytest.mark.parametrize(
    ("need", "succeeded", "failed", "ended"),
    [
        (StepState(), WAITING, WAITING, WAITING),
        (PENDING, WAITING, WAITING, WAITING),
        (STARTED, WAITING, WAITING, WAITING),
        (RETRY, WAITING, WAITING, WAITING),
        (SUCCEEDED, ADMITTED, skipped("skipped"), ADMITTED),
        (NOTHING, ADMITTED, skipped("skipped"), ADMITTED),
        (SKIPPED, ADMITTED, skipped("skipped"), ADMITTED),
        (FAILED, skipped("upstream_failed"), ADMITTED, ADMITTED),
        (REVOKED, skipped("upstream_failed"), ADMITTED, ADMITTED),
        (UPSTREAM, skipped("upstream_failed"), ADMITTED, ADMITTED),
        # Of a step with several items, one that failed is enough for those who hope for success.
        (runs(SUCCESS=2, SKIPPED=1), ADMITTED, skipped("skipped"), ADMITTED),
        (runs(SUCCESS=2, FAILURE=1), skipped("upstream_failed"), ADMITTED, ADMITTED),
        (runs(SUCCESS=2, FAILURE=1, STARTED=1), skipped("upstream_failed"), WAITING, WAITING),
        (runs(SUCCESS=2, PENDING=1), WAITING, WAITING, WAITING),
    ],
)
def test_when_and_the_outcome_of_a_need(
    need: StepState, succeeded: Decision, failed: Decision, ended: Decision
) -> None:
    for when, expected in (("succeeded", succeeded), ("failed", failed), ("ended", ended)):
        graph = {"a": node(), "b": node("a", when)}
        got = decided(graph, a=need)
        assert Decision(admit=tuple(step for step in got.admit if step == "b"), skip=got.skip) == expected, when


@pytest.mark.parametrize("need", [FAILED, REVOKED, UPSTREAM, runs(SUCCESS=2, FAILURE=1)])
def test_a_step_that_may_fail_holds_nobody_up(need: StepState) -> None:
    graph = {"a": node(may_fail=True), "b": node("a")}
    assert decided(graph, a=need).admit == ("b",)
    assert decided(graph, a=need, b=SUCCEEDED) == Decision(end=DONE)


def test_a_step_that_may_fail_is_waited_for_to_the_last_item() -> None:
    graph = {"a": node(may_fail=True), "b": node("a")}
    assert decided(graph, a=runs(FAILURE=3, STARTED=1)) == WAITING
    assert decided(graph, a=runs(FAILURE=4)).admit == ("b",)


def test_a_step_that_may_fail_counts_as_failed_for_those_who_wait_for_that() -> None:
    graph = {"a": node(may_fail=True), "b": node("a", "failed")}
    assert decided(graph, a=FAILED).admit == ("b",)
    assert decided(graph, a=FAILED, b=SUCCEEDED).end == DONE


@pytest.mark.parametrize(
    ("when", "first", "second", "expected"),
    [
        ("succeeded", SUCCEEDED, SUCCEEDED, ADMITTED),
        ("succeeded", SUCCEEDED, STARTED, WAITING),
        ("succeeded", SUCCEEDED, FAILED, skipped("upstream_failed")),
        ("succeeded", FAILED, STARTED, skipped("upstream_failed")),
        ("succeeded", SKIPPED, SUCCEEDED, ADMITTED),
        ("succeeded", SKIPPED, SKIPPED, ADMITTED),
        ("failed", FAILED, FAILED, ADMITTED),
        ("failed", FAILED, UPSTREAM, ADMITTED),
        ("failed", FAILED, STARTED, WAITING),
        ("failed", FAILED, SUCCEEDED, skipped("skipped")),
        ("failed", FAILED, SKIPPED, skipped("skipped")),
        ("failed", SUCCEEDED, STARTED, skipped("skipped")),
        ("ended", FAILED, SUCCEEDED, ADMITTED),
        ("ended", UPSTREAM, SKIPPED, ADMITTED),
        ("ended", FAILED, STARTED, WAITING),
    ],
)
def test_when_is_about_all_needs(when: str, first: StepState, second: StepState, expected: Decision) -> None:
    graph = {"x": node(), "y": node(), "b": node("x y", when)}
    for states in ({"x": first, "y": second}, {"x": second, "y": first}):
        got = decide(graph, states)
        assert Decision(admit=got.admit, skip=got.skip) == expected


def test_a_whole_chain_is_skipped_at_once_and_cleanup_starts_with_it() -> None:
    graph = {**chain("a", "b", "c", "d"), "tidy": node("d", "ended"), "mail": node("b", "failed"), "ok": node("mail")}
    decision = decided(graph, a=FAILED)
    assert decision.skip == tuple((name, "upstream_failed") for name in "bcd")
    assert decision.admit == ("tidy", "mail")
    assert decision.end is None


def test_steps_after_one_that_was_skipped_run() -> None:
    graph = {**chain("a", "b", "c"), "on-failure": node("a", "failed"), "after": node("on-failure")}
    decision = decided(graph, a=SUCCEEDED, b=SKIPPED)
    assert decision == Decision(admit=("c", "after"), skip=(("on-failure", "skipped"),))


def test_may_fail_of_a_step_that_could_not_run_lets_the_next_one_run() -> None:
    graph = {"a": node(), "b": node("a", may_fail=True), "c": node("b")}
    decision = decided(graph, a=FAILED)
    assert (decision.skip, decision.admit) == ((("b", "upstream_failed"),), ("c",))
    assert decided(graph, a=FAILED, b=UPSTREAM, c=SUCCEEDED).end == Outcome(State.FAILURE, "step_failed", ("a",))


def test_the_order_of_the_graph_is_not_that_of_its_needs() -> None:
    graph = {"c": node("b"), "b": node("a"), "a": node()}
    assert decided(graph, a=FAILED).skip == (("c", "upstream_failed"), ("b", "upstream_failed"))
    assert list(in_order(graph)) == ["a", "b", "c"]


def test_an_empty_each_succeeds() -> None:
    graph = chain("a", "b")
    assert NOTHING.state == State.SUCCESS
    assert decided(graph, a=NOTHING).admit == ("b",)
    assert decided(graph, a=NOTHING, b=NOTHING).end == DONE


def test_recording_the_runs_of_a_step_goes_on() -> None:
    graph = chain("a", "b")
    assert decided(graph, a=StepState(250, 100, {"SUCCESS": 100})).admit == ("a",)
    # One that failed does not keep the other items from running.
    assert decided(graph, a=StepState(250, 200, {"SUCCESS": 199, "FAILURE": 1})).admit == ("a",)
    assert decided(graph, a=StepState(250, 0)).admit == ("a",)


@pytest.mark.parametrize(
    ("states", "end"),
    [
        ({"a": SUCCEEDED, "b": SUCCEEDED, "c": SUCCEEDED}, DONE),
        ({"a": SUCCEEDED, "b": SKIPPED, "c": SKIPPED}, DONE),
        ({"a": SUCCEEDED, "b": SUCCEEDED, "c": STARTED}, None),
        ({"a": FAILED, "b": UPSTREAM, "c": STARTED}, None),
        ({"a": FAILED, "b": UPSTREAM, "c": SUCCEEDED}, Outcome(State.FAILURE, "step_failed", ("a",))),
        ({"a": SUCCEEDED, "b": FAILED, "c": REVOKED}, Outcome(State.FAILURE, "step_failed", ("b", "c"))),
        (
            {"a": SUCCEEDED, "b": SUCCEEDED, "c": runs(SUCCESS=9, FAILURE=1)},
            Outcome(State.FAILURE, "step_failed", ("c",)),
        ),
    ],
)
def test_how_a_flow_ends(states: dict[str, StepState], end: Outcome | None) -> None:
    graph = {"a": node(), "b": node("a"), "c": node(when="ended")}
    assert decide(graph, states) == Decision(end=end)


def test_a_flow_fails_even_if_a_step_dealt_with_the_failure() -> None:
    graph = {"a": node(), "b": node("a", "failed")}
    assert decided(graph, a=FAILED, b=SUCCEEDED).end == Outcome(State.FAILURE, "step_failed", ("a",))


def test_a_failure_of_cleanup_is_a_failure() -> None:
    graph = {"a": node(), "b": node("a", "ended")}
    assert decided(graph, a=SUCCEEDED, b=FAILED).end == Outcome(State.FAILURE, "step_failed", ("b",))


STOP: Graph = {
    "bad": node(),
    "running": node(),
    "waiting": node(),
    "flow": node(job="child"),
    "next": node("running"),
    "after-bad": node("bad"),
    "tidy": node("next", "ended"),
    "told": node("tidy"),
}
OPEN = {"running": STARTED, "waiting": PENDING, "flow": STARTED}


def test_finish_lets_the_other_branches_go_on() -> None:
    decision = decide(STOP, {**OPEN, "bad": FAILED})
    assert decision == Decision(skip=(("after-bad", "upstream_failed"),))


def test_stop_ends_the_other_branches() -> None:
    decision = decide(STOP, {**OPEN, "bad": FAILED}, on_failure="stop")
    assert decision.terminate == ("running", "flow")
    assert decision.cancel == ("waiting", "flow")
    assert decision.skip == (("next", "cancelled"), ("after-bad", "upstream_failed"))


def test_stop_starts_cleanup_at_once_and_does_not_end_it() -> None:
    ended = {"bad": FAILED, "running": REVOKED, "waiting": REVOKED, "flow": REVOKED}
    states = {**ended, "next": REVOKED, "after-bad": UPSTREAM}
    assert decide(STOP, states, on_failure="stop") == Decision(admit=("tidy",))
    assert decide(STOP, {**states, "tidy": STARTED}, on_failure="stop") == Decision()
    assert decide(STOP, {**states, "tidy": SUCCEEDED}, on_failure="stop") == Decision(admit=("told",))
    assert decide(STOP, {**states, "tidy": SUCCEEDED, "told": STARTED}, on_failure="stop") == Decision()
    end = Outcome(State.FAILURE, "step_failed", ("bad",))
    assert decide(STOP, {**states, "tidy": SUCCEEDED, "told": SUCCEEDED}, on_failure="stop") == Decision(end=end)


def test_stop_names_what_was_revoked_only_if_nothing_failed() -> None:
    graph = {"a": node(), "b": node()}
    assert decided(graph, "stop", a=REVOKED, b=SUCCEEDED).end == Outcome(State.FAILURE, "step_failed", ("a",))
    assert decided(graph, "stop", a=REVOKED, b=FAILED).end == Outcome(State.FAILURE, "step_failed", ("b",))


def test_stop_does_not_stop_for_a_step_that_may_fail() -> None:
    graph = {"a": node(may_fail=True), "b": node()}
    assert decided(graph, "stop", a=FAILED, b=STARTED) == Decision()


def test_stop_ends_the_other_items_and_records_no_more() -> None:
    graph = {"a": node()}
    decision = decided(graph, "stop", a=StepState(250, 100, {"FAILURE": 1, "STARTED": 4, "PENDING": 95}))
    assert decision == Decision(skip=(("a", "cancelled"),), terminate=("a",), cancel=("a",))
    cut = StepState(101, 101, {"FAILURE": 1, "REVOKED": 100})
    assert decided(graph, "stop", a=cut).end == Outcome(State.FAILURE, "step_failed", ("a",))


@pytest.mark.parametrize(
    ("stopping", "state", "terminates"),
    [
        ("cancelled", State.REVOKED, False),
        ("terminated", State.REVOKED, True),
        ("replaced", State.REVOKED, True),
        ("timeout", State.FAILURE, True),
    ],
)
def test_stopping_the_whole_flow(stopping: str, state: State, terminates: bool) -> None:
    graph = {**chain("a", "b", "c"), "waits": node(), "child": node(job="other"), "tidy": node("c", "ended")}
    states = {"a": SUCCEEDED, "b": STARTED, "waits": RETRY, "child": STARTED}
    decision = decide(graph, states, stopping=stopping)
    assert decision.admit == ()
    assert decision.skip == (("c", "cancelled"), ("tidy", "cancelled"))
    assert decision.cancel == (("waits", "child") if terminates else ("b", "waits", "child"))
    assert decision.terminate == (("b", "child") if terminates else ())
    assert decision.end is None
    ended = {"a": SUCCEEDED, **dict.fromkeys(("b", "c", "waits", "child", "tidy"), REVOKED)}
    assert decide(graph, ended, stopping=stopping) == Decision(end=Outcome(state, stopping))


def test_stopping_does_not_change_what_is_done() -> None:
    graph = {**chain("a", "b"), "x": node(may_fail=True)}
    for stopping in ("cancelled", "terminated", "timeout", "replaced"):
        assert decided(graph, "finish", stopping, a=SUCCEEDED, b=SKIPPED, x=FAILED).end == DONE
        # A step that may fail, and was not let run, did not end by itself.
        assert decided(graph, "finish", stopping, a=SUCCEEDED, b=SUCCEEDED, x=REVOKED).end != DONE


def test_stopping_names_the_steps_that_had_failed() -> None:
    graph = {"a": node(), "b": node()}
    end = decided(graph, "finish", "terminated", a=FAILED, b=REVOKED).end
    assert end == Outcome(State.REVOKED, "terminated", ("a",))


def test_stopping_before_anything_was_admitted() -> None:
    graph = chain("a", "b")
    assert decided(graph, "finish", "cancelled").skip == (("a", "cancelled"), ("b", "cancelled"))


def test_stopping_records_no_more_runs() -> None:
    graph = {"a": node()}
    decision = decided(graph, "finish", "cancelled", a=StepState(250, 100, {"SUCCESS": 99, "STARTED": 1}))
    assert decision == Decision(skip=(("a", "cancelled"),), cancel=("a",))


def test_what_is_not_of_the_graph_changes_nothing() -> None:
    assert decided({"a": node()}, a=SUCCEEDED, z=FAILED).end == DONE
    assert decided({"a": node("z")}).skip == (("a", "upstream_failed"),)


def test_counts_that_were_read_in_between_start_nothing_too_early() -> None:
    """A run that was read neither before nor after it went from one state to the next has not ended."""
    graph = chain("a", "b")
    assert decided(graph, a=StepState(3, 3, {"SUCCESS": 2})) == WAITING
    assert decided(graph, a=StepState(3, 3, {"SUCCESS": 3, "STARTED": 1})).admit == ("b",)


@pytest.mark.parametrize(
    ("step", "state"),
    [
        (StepState(), State.PENDING),
        (StepState(5, 0), State.PENDING),
        (PENDING, State.PENDING),
        (STARTED, State.STARTED),
        (RETRY, State.STARTED),
        (runs(PENDING=4, SUCCESS=1), State.STARTED),
        (StepState(5, 1, {"SUCCESS": 1}), State.STARTED),
        (runs(FAILURE=1, PENDING=1), State.STARTED),
        (SUCCEEDED, State.SUCCESS),
        (runs(SUCCESS=1, SKIPPED=1), State.SUCCESS),
        (FAILED, State.FAILURE),
        (runs(FAILURE=1, REVOKED=1), State.FAILURE),
        (runs(SUCCESS=1, REVOKED=1), State.REVOKED),
        (REVOKED, State.REVOKED),
        (SKIPPED, State.REVOKED),
        (UPSTREAM, State.REVOKED),
    ],
)
def test_the_state_of_a_step(step: StepState, state: State) -> None:
    assert step.state is state


def test_what_a_step_waits_for() -> None:
    graph = {"a": node(), "b": node(), "c": node("a b")}
    assert waits_for(graph, {"a": SUCCEEDED}, "c") == ("b",)
    assert waits_for(graph, {"a": SUCCEEDED, "b": SUCCEEDED}, "c") == ()
    assert waits_for(graph, {"c": STARTED}, "c") == ()


def test_the_names_of_counts() -> None:
    assert set(COUNTS) == {*State, "SKIPPED", "UPSTREAM"}
