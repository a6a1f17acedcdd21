"""What becomes of a flow, told slowly: by definition, step by step, without an order of events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from runner.flows.decide import Outcome, StepState
from runner.model.run import State
from tests.flows.graphs import Graph

Fate = Literal["SUCCESS", "FAILURE", "REVOKED", "SKIPPED"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a step would bring if it were admitted: the fates of its items, or one of SKIPPED where ``if`` is false."""

    fates: tuple[Fate, ...]


def expected(graph: Graph, plans: Mapping[str, Plan]) -> tuple[dict[str, tuple[str, ...]], Outcome]:
    """Return the final states of each step's runs, and how the flow ends, if nobody stops it."""
    ends: dict[str, tuple[str, ...]] = {}

    def of(name: str) -> tuple[str, ...]:
        if name not in ends:
            ends[name] = by_definition(name)
        return ends[name]

    def by_definition(name: str) -> tuple[str, ...]:
        step = graph[name]
        if step.when == "succeeded":
            for need in step.needs:
                if has_failed(of(need)) and not graph[need].may_fail:
                    return ("UPSTREAM",)
        if step.when == "failed":
            for need in step.needs:
                if not has_failed(of(need)):
                    return ("SKIPPED",)
        return plans[name].fates

    for name in graph:
        of(name)
    guilty = tuple(name for name in graph if has_failed(ends[name]) and not graph[name].may_fail)
    themselves = tuple(name for name in guilty if "FAILURE" in ends[name] or "REVOKED" in ends[name])
    if guilty:
        return ends, Outcome(State.FAILURE, "step_failed", themselves)
    return ends, Outcome(State.SUCCESS, None)


def has_failed(ends: tuple[str, ...]) -> bool:
    return any(end in ("FAILURE", "REVOKED", "UPSTREAM") for end in ends)


Act = tuple[str, str]
"""A step, and ``admit`` or why it is skipped."""


def possible(graph: Graph, states: Mapping[str, StepState], on_failure: str, stopping: str | None) -> Iterator[Act]:
    """Yield each single act that the rules ask for, by looking at one step alone and at those that it needs."""
    for name, step in graph.items():
        mine = states.get(name, StepState())
        if mine.items is not None and mine.made >= mine.items:
            continue
        needs = [(graph[need], states.get(need, StepState())) for need in step.needs]
        hopeless = step.when == "succeeded" and any(state.failed and not need.may_fail for need, state in needs)
        if stopping is not None:
            yield name, "cancelled"
        elif on_failure == "stop" and is_stopped(graph, states) and not is_cleanup(graph, name):
            # What it needs, and has not begun or not wholly, is to be stopped as well, and fails by that.
            lost = any(
                not graph[need].may_fail and not is_cleanup(graph, need) and is_incomplete(states.get(need))
                for need in step.needs
            )
            yield name, "upstream_failed" if step.when == "succeeded" and (hopeless or lost) else "cancelled"
        elif mine.items is not None:
            yield name, "admit"
        elif hopeless:
            yield name, "upstream_failed"
        elif step.when == "failed" and any(state.ended and not state.failed for _, state in needs):
            yield name, "skipped"
        elif all(state.ended for _, state in needs):
            yield name, "admit"


def is_stopped(graph: Graph, states: Mapping[str, StepState]) -> bool:
    return any(name in states and states[name].failed and not step.may_fail for name, step in graph.items())


def is_incomplete(state: StepState | None) -> bool:
    return state is None or state.items is None or state.made < state.items


def is_cleanup(graph: Graph, name: str) -> bool:
    return graph[name].when != "succeeded" or any(is_cleanup(graph, need) for need in graph[name].needs)
