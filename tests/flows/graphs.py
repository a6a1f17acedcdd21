"""Graphs for tests: steps that say in one line what they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runner.flows.decide import Decision, StepState, decide


@dataclass(frozen=True, slots=True)
class Node:
    """The options of a step that decide when it runs."""

    needs: tuple[str, ...] = ()
    when: str = "succeeded"
    may_fail: bool = False
    job: str | None = None


Graph = Mapping[str, Node]


def node(needs: str = "", when: str = "succeeded", *, may_fail: bool = False, job: str | None = None) -> Node:
    """Return a step that needs the steps named in a text: ``"extract load"``."""
    return Node(tuple(needs.split()), when, may_fail, job)


def chain(*names: str) -> dict[str, Node]:
    """Return steps of which each needs the one before."""
    return {name: node(names[index - 1] if index else "") for index, name in enumerate(names)}


def runs(**counts: int) -> StepState:
    """Return the state of a step all of whose runs are recorded: ``runs(SUCCESS=2, STARTED=1)``."""
    number = sum(counts.values())
    return StepState(number, number, counts)


SUCCEEDED = runs(SUCCESS=1)
FAILED = runs(FAILURE=1)
REVOKED = runs(REVOKED=1)
SKIPPED = runs(SKIPPED=1)
UPSTREAM = runs(UPSTREAM=1)
STARTED = runs(STARTED=1)
PENDING = runs(PENDING=1)
RETRY = runs(RETRY=1)
NOTHING = runs()


def decided(graph: Graph, on_failure: str = "finish", stopping: str | None = None, /, **states: StepState) -> Decision:
    """Return the decision for the given states of some steps; the others are not admitted."""
    return decide(graph, states, on_failure=on_failure, stopping=stopping)
