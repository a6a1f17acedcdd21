"""What validation holds for certain of other steps is so whenever a step runs, in random graphs and histories."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.catalog.certainty import Certainty, Known
from runner.model.step import Step
from tests.flows.history import World, random_graph
from tests.flows.reference import Plan

RANDOM = st.randoms(use_true_random=False)
CONDITIONS = ("${params.one}", "${params.two}")
EXAMPLES = 200


@dataclass(slots=True)
class Watched(World):
    """A flow that looks at what is certain whenever a step is admitted."""

    certainty: Certainty = field(default_factory=lambda: Certainty({}))
    truths: dict[str, bool] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    looks: int = 0

    def admit(self, name: str) -> None:
        if name not in self.items and self.stopping is None:
            if_ = self.steps[name].if_
            self.check(name, self.certainty.of(name, with_if=False))
            if if_ is None or self.truths[if_]:
                self.check(name, self.certainty.of(name))
        World.admit(self, name)

    def check(self, name: str, known: Known) -> None:
        self.looks += len(known.ran)
        assert known.succeeded <= known.ran
        for upstream in known.ran:
            fates = self.plans[upstream].fates
            ended = tuple(self.runs.get((upstream, item)) for item in range(len(fates)))
            assert ended == fates, f"{upstream} has not run when {name} starts"
            assert self.items[upstream] == len(fates), f"{upstream} was cut short when {name} starts"
            if upstream in known.succeeded:
                assert set(fates) <= {"SUCCESS"}, f"{upstream} has not succeeded when {name} starts"


def watched(random: Random, on_failure: str) -> Watched:
    graph, plans = random_graph(random)
    truths = {condition: random.random() < 0.5 for condition in CONDITIONS}
    steps: dict[str, Step] = {}
    for name, node in graph.items():
        if_ = random.choice((None, None, *CONDITIONS))
        steps[name] = Step(needs=node.needs, when=node.when, may_fail=node.may_fail, if_=if_, task="a:b")
        fates = tuple("SUCCESS" if fate == "SKIPPED" else fate for fate in plans[name].fates)
        plans[name] = Plan(fates if if_ is None or truths[if_] else ("SKIPPED",))
    certainty = Certainty(steps, stops=on_failure == "stop")
    return Watched(graph, plans, random, on_failure=on_failure, certainty=certainty, truths=truths, steps=steps)


@pytest.mark.parametrize("on_failure", ["finish", "stop"])
@given(random=RANDOM)
@settings(max_examples=EXAMPLES, deadline=None)
def test_what_is_certain_is_so_whenever_a_step_runs(on_failure: str, random: Random) -> None:
    watched(random, on_failure).live()


@pytest.mark.long
@pytest.mark.parametrize("on_failure", ["finish", "stop"])
def test_what_is_certain_is_so_in_many_histories(on_failure: str) -> None:
    looks = 0
    for number in range(5_000):
        world = watched(Random(number), on_failure)
        world.live()
        looks += world.looks
    assert looks > 2_000


def step(*needs: str, when: str = "succeeded", if_: str | None = None, may_fail: bool = False) -> Step:
    return Step(needs=needs, when=when, if_=if_, may_fail=may_fail, task="a:b")


@pytest.mark.parametrize(
    ("steps", "succeeded", "ran"),
    [
        ({"a": step(), "x": step("a")}, "a", "a"),
        ({"a": step(), "b": step("a"), "x": step("b")}, "a b", "a b"),
        ({"a": step(if_="${params.p}"), "x": step("a")}, "", ""),
        ({"a": step(), "b": step("a", if_="${params.p}"), "x": step("b")}, "a", "a"),
        ({"a": step(if_="${params.p}"), "x": step("a", if_="${params.p}")}, "a", "a"),
        ({"a": step(if_="${params.p}"), "x": step("a", if_="${params.q}")}, "", ""),
        ({"a": step(may_fail=True), "x": step("a")}, "", "a"),
        ({"a": step(), "b": step("a", may_fail=True), "x": step("b")}, "", ""),
        ({"a": step(), "b": step("a", may_fail=True), "x": step("a", "b")}, "a", "a b"),
        ({"a": step(), "b": step("a", when="failed"), "x": step("a", "b")}, "a", "a"),
        ({"a": step(), "b": step("a", when="ended"), "x": step("b")}, "b", "a b"),
        ({"a": step(), "x": step("a", when="ended")}, "", "a"),
        ({"a": step(), "b": step("a"), "x": step("b", when="ended")}, "", ""),
        ({"a": step("b"), "b": step("a"), "x": step("b")}, "a b", "a b"),
    ],
)
def test_what_is_certain(steps: dict[str, Step], succeeded: str, ran: str) -> None:
    known = Certainty(steps).of("x")
    assert (known.succeeded, known.ran) == (frozenset(succeeded.split()), frozenset(ran.split()))


@pytest.mark.parametrize("backwards", [False, True])
def test_a_chain_may_be_as_long_as_a_flow(*, backwards: bool) -> None:
    chain = {f"s{n}": Step(task="m:f", needs=(f"s{n - 1}",) if n else ()) for n in range(1000)}
    steps = dict(reversed(chain.items())) if backwards else chain
    known = Certainty(steps).of("s999")
    assert len(known.succeeded) == len(known.ran) == 999


def test_nothing_is_certain_in_a_circle() -> None:
    steps = {"a": Step(task="m:f", needs=("b",)), "b": Step(task="m:f", needs=("a",)), "c": Step(task="m:f")}
    assert Certainty(steps).of("c") == Known()
    Certainty(steps).of("a")
