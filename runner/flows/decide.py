"""Decide what a flow does next. Pure and total: there is a decision for every graph and all counts, in any order of
events.

A step has ended when the number of its runs in final states equals the number of its items. Counts come from sets of
runs, so a run that ends twice counts once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Final, Literal, NamedTuple, Protocol

from runner._dataclass import dataclass
from runner.model.run import State

STEP_FAILED: Final = "step_failed"
SkipReason = Literal["skipped", "upstream_failed", "cancelled"]

OPEN: Final = ("PENDING", "STARTED", "RETRY")
FAILING: Final = ("FAILURE", "REVOKED", "UPSTREAM")
FINAL_COUNTS: Final = ("SUCCESS", "SKIPPED", *FAILING)
COUNTS: Final = (*OPEN, *FINAL_COUNTS)
"""The states by which step runs are counted: those of runs, plus REVOKED/skipped and REVOKED/upstream_failed."""


class Node(Protocol):
    """The options of a step that determine when it runs."""

    @property
    def needs(self) -> Sequence[str]: ...
    @property
    def when(self) -> str: ...
    @property
    def may_fail(self) -> bool: ...
    @property
    def job(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class StepState:
    """The runs of one step.

    ``items``: the number of its runs, of which ``made`` are recorded; None until the step is admitted. ``counts``: the
    number of runs in each of :data:`COUNTS`.
    """

    items: int | None = None
    made: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    def count(self, *names: str) -> int:
        """Return the number of runs in any of these states."""
        return sum(self.counts.get(name, 0) for name in names)

    @property
    def ended(self) -> bool:
        """Return whether every item has a run in a final state."""
        return self.items is not None and self.count(*FINAL_COUNTS) >= self.items

    @property
    def failed(self) -> bool:
        """Return whether a run has failed, even before the other runs have ended."""
        return self.count(*FAILING) > 0

    @property
    def state(self) -> State:
        """Return the state of the step for people.

        PENDING until the first run starts, STARTED until the last one ends; then FAILURE if a run failed, REVOKED if
        one was revoked or all were skipped, and SUCCESS otherwise, also without items.
        """
        if not self.ended:
            begun = self.count("STARTED", "RETRY", *FINAL_COUNTS)
            return State.STARTED if begun else State.PENDING
        if self.count("FAILURE"):
            return State.FAILURE
        if self.failed or (self.count("SKIPPED") and not self.count("SUCCESS")):
            return State.REVOKED
        return State.SUCCESS


class Outcome(NamedTuple):
    """The end of a flow; ``failed``: the steps that caused a failure, in the order of the graph."""

    state: State
    reason: str | None
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The actions of a decision; all of them are idempotent.

    ``skip``: the first action. Each of these steps gets a last run, with the next item, which ends in REVOKED at once
    with the given reason. That also cuts off a step whose runs are only partly recorded. ``admit``: the steps whose
    needs are met. Evaluate ``if`` and ``each``, and record their runs, or go on doing so. ``cancel``: the steps whose
    waiting runs to revoke. Started runs go on without retries; a started subflow is revoked without terminating it.
    ``terminate``: the steps whose started runs to terminate. ``end``: the end of the flow; then there are no other
    actions.
    """

    admit: tuple[str, ...] = ()
    skip: tuple[tuple[str, SkipReason], ...] = ()
    terminate: tuple[str, ...] = ()
    cancel: tuple[str, ...] = ()
    end: Outcome | None = None


def decide(
    graph: Mapping[str, Node],
    states: Mapping[str, StepState],
    *,
    on_failure: str = "finish",
    stopping: str | None = None,
) -> Decision:
    """Return the next actions of a flow.

    Args:
        graph: its steps in order.
        states: the runs of its steps; a missing step is not admitted.
        on_failure: ``finish`` lets other branches go on after a failure, ``stop`` ends them. Steps with ``when:
            failed`` or ``ended``, and the steps after them, run in any case.
        stopping: the reason for ending the whole flow: ``cancelled`` lets started runs finish; ``timeout``,
            ``terminated``, and any other reason terminate them. No more steps are admitted.
    """
    known = {name: states.get(name, _UNKNOWN) for name in graph}
    stopped = _stopped(graph, known, on_failure, stopping)
    skip: dict[str, SkipReason] = {}
    admit: set[str] = set()
    for name in in_order(graph):
        state = known[name]
        if state.items is not None and (state.made >= state.items or state.ended):
            continue
        reason: SkipReason | None = None
        if name in stopped:
            reason = "upstream_failed" if stopping is None and _upstream_failed(graph, known, name) else "cancelled"
        elif state.items is None:
            verdict = _verdict(graph, known, name)
            if verdict is None:
                continue
            reason = None if verdict == "admit" else verdict
        if reason is None:
            admit.add(name)
        else:
            skip[name] = reason
            known[name] = _with_skipped(state, reason)
    end = None
    if not skip and not admit and all(state.ended for state in known.values()):
        end = _outcome(graph, known, on_failure, stopping)
    gently = stopping == "cancelled"
    return Decision(
        admit=tuple(name for name in graph if name in admit),
        skip=tuple((name, skip[name]) for name in graph if name in skip),
        terminate=() if gently else tuple(name for name in graph if name in stopped and known[name].count("STARTED")),
        cancel=tuple(name for name in graph if name in stopped and _can_cancel(graph[name], known[name], gently)),
        end=end,
    )


def waits_for(graph: Mapping[str, Node], states: Mapping[str, StepState], name: str) -> tuple[str, ...]:
    """Return the needs of a step that have not ended; empty once it is admitted."""
    if states.get(name, _UNKNOWN).items is not None:
        return ()
    return tuple(need for need in graph[name].needs if not states.get(need, _UNKNOWN).ended)


def in_order(graph: Mapping[str, Node]) -> Iterator[str]:
    """Yield the steps, each after its needs; a cycle, and the steps that need it, come last."""
    before = {name: {need for need in step.needs if need in graph} for name, step in graph.items()}
    after: dict[str, list[str]] = {name: [] for name in graph}
    for name, needs in before.items():
        for need in needs:
            after[need].append(name)
    ready = deque(name for name, needs in before.items() if not needs)
    while ready:
        name = ready.popleft()
        del before[name]
        yield name
        for following in after[name]:
            before[following].discard(name)
            if not before[following]:
                ready.append(following)
    yield from before


_UNKNOWN: Final = StepState()
_NO_SUCH_STEP: Final = StepState(1, 1, {"UPSTREAM": 1})
"""The state of a need that is not in the graph, so that steps that need it cannot run."""


def _stopped(
    graph: Mapping[str, Node], known: Mapping[str, StepState], on_failure: str, stopping: str | None
) -> set[str]:
    """Return the steps that shall end as soon as possible."""
    if stopping is not None:
        return set(graph)
    if on_failure != "stop" or not any(known[name].failed and not graph[name].may_fail for name in graph):
        return set()
    cleanup: set[str] = set()
    for name in in_order(graph):
        if graph[name].when != "succeeded" or not cleanup.isdisjoint(graph[name].needs):
            cleanup.add(name)
    return set(graph) - cleanup


def _verdict(
    graph: Mapping[str, Node], known: Mapping[str, StepState], name: str
) -> Literal["admit", "skipped", "upstream_failed"] | None:
    """Return the verdict on a step that is not admitted; None if it has to wait."""
    step = graph[name]
    needs = [known.get(need, _NO_SUCH_STEP) for need in step.needs]
    if step.when == "failed":
        if any(need.ended and not need.failed for need in needs):
            return "skipped"
    elif step.when != "ended" and _upstream_failed(graph, known, name):
        return "upstream_failed"
    return "admit" if all(need.ended for need in needs) else None


def _upstream_failed(graph: Mapping[str, Node], known: Mapping[str, StepState], name: str) -> bool:
    """Return whether a step whose success this one needs has failed."""
    return graph[name].when not in ("failed", "ended") and any(
        need not in graph or (known[need].failed and not graph[need].may_fail) for need in graph[name].needs
    )


def _with_skipped(state: StepState, reason: SkipReason) -> StepState:
    """Return the state after one more run has ended in REVOKED, with no more to follow."""
    name = {"skipped": "SKIPPED", "upstream_failed": "UPSTREAM", "cancelled": "REVOKED"}[reason]
    made = state.made + 1
    return StepState(made, made, {**state.counts, name: state.count(name) + 1})


def _can_cancel(step: Node, state: StepState, gently: bool) -> bool:
    # Active runs that are not terminated go on, but without retries and redelivery.
    return state.count("PENDING", "RETRY") > 0 or ((gently or step.job is not None) and state.count("STARTED") > 0)


def _outcome(
    graph: Mapping[str, Node], known: Mapping[str, StepState], on_failure: str, stopping: str | None
) -> Outcome:
    failing = [name for name in graph if known[name].failed and not graph[name].may_fail]
    if stopping is not None and (failing or any(state.count("REVOKED") for state in known.values())):
        failed = tuple(name for name in failing if known[name].count("FAILURE"))
        return Outcome(State.FAILURE if stopping == "timeout" else State.REVOKED, stopping, failed)
    if failing:
        return Outcome(State.FAILURE, STEP_FAILED, _to_blame(known, failing, on_failure))
    return Outcome(State.SUCCESS, None)


def _to_blame(known: Mapping[str, StepState], failing: Sequence[str], on_failure: str) -> tuple[str, ...]:
    """Return the steps that failed themselves.

    With ``on_failure: stop``, revoked steps are returned only if none failed, because most were revoked by the stop.
    """
    by_failure = tuple(name for name in failing if known[name].count("FAILURE"))
    if on_failure == "stop" and by_failure:
        return by_failure
    return tuple(name for name in failing if known[name].count("FAILURE", "REVOKED")) or tuple(failing)
