"""Random graphs and histories: the outcome depends on no order, no duplicate, and no lost look."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.flows.decide import COUNTS, Decision, StepState, decide, in_order
from runner.model.run import State
from tests.flows.graphs import Node
from tests.flows.history import World, is_sorted, one_by_one, random_graph
from tests.flows.reference import expected, is_cleanup

RANDOM = st.randoms(use_true_random=False)
STOPPING = ("cancelled", "terminated", "timeout", "replaced")
PORTION = 2_500
MANY = int(os.environ.get("RUNNER_TEST_HISTORIES", "10000"))
"""Histories in all; ``make histories`` tries 100,000."""


def finishes(random: Random) -> None:
    """A flow that nobody stops ends as the definitions say."""
    graph, plans = random_graph(random)
    world = World(graph, plans, random)
    world.live()
    ends, outcome = expected(graph, plans)
    assert world.finals() == dict(sorted(ends.items()))
    assert world.end == outcome
    assert world.started_before == []
    assert world.decision() == Decision(end=outcome)


def stops(random: Random) -> None:
    """With ``on_failure: stop`` the state of the flow is that of ``finish``, and cleanup runs."""
    graph, plans = random_graph(random)
    world = World(graph, plans, random, on_failure="stop")
    world.live()
    _, outcome = expected(graph, plans)
    assert world.end is not None
    assert (world.end.state, world.end.reason) == (outcome.state, outcome.reason)
    assert world.started_before == []
    finals = world.finals()
    for name in graph:
        if graph[name].when == "ended":
            assert finals[name] == plans[name].fates
        if not is_cleanup(graph, name):
            continue
        assert name not in world.terminating
    if outcome.state is State.SUCCESS:
        assert finals == dict(sorted(expected(graph, plans)[0].items()))
    else:
        assert world.end.failed
        assert any("FAILURE" in finals[name] or "REVOKED" in finals[name] for name in world.end.failed)


def is_stopped(random: Random) -> None:
    """A flow that somebody stops at any time ends, admits nothing more, and keeps what was done."""
    graph, plans = random_graph(random)
    world = World(graph, plans, random, on_failure=random.choice(("finish", "stop")))
    for _ in range(random.randint(0, 25)):
        world.happen()
        world.advance()
    was_done = world.end
    reason = random.choice(STOPPING)
    world.stopping = reason
    recorded = set(world.runs)
    admitted = dict(world.items)
    if was_done is None:
        world.live()
    assert world.end is not None
    if was_done is not None:
        return
    assert world.end.state is State.SUCCESS or world.end.reason == reason
    assert world.end.state is not State.FAILURE or reason == "timeout"
    cut = [key for key in world.runs if key not in recorded]
    assert {world.runs[key] for key in cut} <= {"REVOKED"}
    assert all(sum(step == name for step, _ in cut) <= 1 for name in graph)
    if world.end.state is State.SUCCESS:
        assert cut == []
        assert set(admitted) == set(graph)


def agrees(random: Random) -> None:
    """One look finds what looking at single steps finds, one act at a time, in any order."""
    graph, plans = random_graph(random)
    world = World(graph, plans, random, on_failure=random.choice(("finish", "stop")))
    for _ in range(random.randint(0, 40)):
        world.happen()
        if random.random() < 0.7:
            world.advance()
        if random.random() < 0.02:
            world.stopping = random.choice(STOPPING)
        decision = world.decision()
        acts, _ = one_by_one(world)
        assert {*decision.skip, *((name, "admit") for name in decision.admit)} == acts
        assert decision.end is None or not acts
    assert is_sorted(graph)


History = Callable[[Random], None]
HISTORIES: tuple[History, ...] = (finishes, stops, is_stopped, agrees)


@pytest.mark.parametrize("history", HISTORIES)
@settings(max_examples=100)
@given(random=RANDOM)
def test_histories(history: History, random: Random) -> None:
    history(random)


@pytest.mark.parametrize("history", HISTORIES)
def test_more_histories(history: History) -> None:
    """Larger ones than hypothesis draws."""
    for seed in range(250):
        history(Random(f"{history.__name__} {seed}"))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("portion", range(MANY // PORTION))
def test_many_histories(portion: int) -> None:
    for seed in range(portion * PORTION, (portion + 1) * PORTION):
        HISTORIES[seed % len(HISTORIES)](Random(seed))


NAMES = st.sampled_from("abcd")
NODES = st.builds(
    Node,
    st.lists(st.sampled_from("abcdz"), max_size=3).map(tuple),
    st.sampled_from(("succeeded", "failed", "ended", "else")),
    st.booleans(),
    st.sampled_from((None, "job")),
)
NUMBERS = st.integers(-2, 5)
STATES = st.builds(StepState, st.none() | NUMBERS, NUMBERS, st.dictionaries(st.sampled_from((*COUNTS, "X")), NUMBERS))


@given(
    st.dictionaries(NAMES, NODES),
    st.dictionaries(NAMES, STATES),
    st.sampled_from(("finish", "stop", "else")),
    st.none() | st.sampled_from((*STOPPING, "else")),
)
def test_any_graph_and_any_counts_give_a_decision(
    graph: dict[str, Node], states: dict[str, StepState], on_failure: str, stopping: str | None
) -> None:
    """Also with circles, needs that there are not, and counts that cannot be."""
    decision = decide(graph, states, on_failure=on_failure, stopping=stopping)
    assert sorted(in_order(graph)) == sorted(graph)
    skipped = {name for name, _ in decision.skip}
    assert skipped.isdisjoint(decision.admit)
    assert {*skipped, *decision.admit, *decision.cancel, *decision.terminate} <= set(graph)
    assert decision.end is None or not (decision.skip or decision.admit)


def test_a_long_chain_is_decided_in_one_go() -> None:
    names = [f"s{index}" for index in range(2_000)]
    graph = {name: Node((names[index - 1],) if index else ()) for index, name in enumerate(names)}
    failed = {names[0]: StepState(1, 1, {"FAILURE": 1})}
    assert len(decide(graph, failed).skip) == len(names) - 1
    assert len(decide(graph, failed, on_failure="stop").skip) == len(names) - 1
