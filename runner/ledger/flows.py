"""Active flows: begin, read, advance, and end them, with one script each; and read the results of their steps.

:mod:`runner.flows.advance`, in a higher layer, decides which steps run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from runner._dataclass import dataclass
from runner.ledger.flow_progress import FlowProgress, step_run_id
from runner.ledger.keys import meta_key
from runner.ledger.reach import reaching
from runner.ledger.record import pairs, read_record
from runner.ledger.store import Store
from runner.ledger.submission import StepEntry, Submission, arguments_of_steps
from runner.model.run import Run, State
from runner.model.value_path import NoValue

MADE_AT_ONCE = 50
"""The maximum number of step runs that one script creates, so that it blocks Redis only briefly."""

STOPPED_AT_ONCE = 30
"""The maximum number of step runs that one script stops."""

MOST_RESULTS = 64 * 1024**2
"""The maximum size of the results of one step that are read at once (bytes)."""

_READ_AT_ONCE = 500
_OF_A_FLOW = 4
"""The number of parts in the answer about a flow that has begun."""


@dataclass(frozen=True, slots=True)
class Flow:
    """An active flow at the time of reading. ``stopping``: the reason why it shall end early, or None."""

    id: str
    record: Mapping[str, str]
    progress: FlowProgress
    stopping: str | None
    paused: bool

    @property
    def run(self) -> Run:
        """The run of the flow; for a damaged record, its readable parts."""
        return read_record(self.id, self.record, None)


def begin_flow(store: Store, run_id: str, token: str) -> bool:
    """Begin a flow that was started under ``token``, and release the claim; return False for a stale token.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return bool(store.script("begin_flow", run_id, token))


def read_flow(store: Store, flow_id: str) -> Flow | None:
    """Return a flow; None if it is not active.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    answer = store.script("read_flow", flow_id)
    if not answer:
        return None
    record, held, steps, stopping, paused = answer
    return Flow(flow_id, pairs(record), FlowProgress.of(held, steps), stopping or None, bool(paused))


def make_steps(
    store: Store, flow: Flow, common: Submission, entries: Sequence[StepEntry], *, items: int, each: bool, admit: bool
) -> tuple[str, Flow]:
    """Create the next runs of one step, in the order of its items.

    Args:
        store: the ledger's store.
        flow: the flow as it was read; if it was advanced since, no run is created.
        common: a submission of the step's job with ``step_of``; its id, params, and key are not used.
        entries: the runs, at most :data:`MADE_AT_ONCE`.
        items: the total number of runs of the step.
        each: whether the step runs once per item.
        admit: whether the runs shall start. Runs that shall not are created even in flows that are paused or ending.

    Returns:
        ``done``, ``stale``, ``over``, ``paused``, or ``stopping``, and the updated flow after ``done``.

    Raises:
        Unavailable: Redis cannot be reached, or refuses the write.
    """
    assert common.step_of is not None
    verdict, *rest = store.script(
        "advance",
        flow.id,
        flow.progress.version,
        common.step_of.step,
        "admit" if admit else "skip",
        items,
        "1" if each else "",
        *arguments_of_steps(common, entries, store.settings),
    )
    if not rest:
        return str(verdict), flow
    held, steps, stopping, paused = rest
    progress = FlowProgress.of(held, steps)
    return str(verdict), replace(flow, progress=progress, stopping=stopping or None, paused=bool(paused))


def stop_step(store: Store, flow_id: str, step: str, *, terminate: bool, comment: str) -> None:
    """Revoke the waiting runs of a step, and prevent retries of the active ones; ``terminate`` ends those, too.

    Raises:
        Unavailable: Redis cannot be reached; some runs may have been stopped.
    """
    looked: Any = 0
    while looked != "":
        looked = store.script("stop_step", flow_id, step, "1" if terminate else "", looked, STOPPED_AT_ONCE, comment)


def end_flow(
    store: Store, flow: Flow, state: State, *, reason: str | None, meta: str, error: str = ""
) -> tuple[str, str | None]:
    """End a flow.

    Args:
        store: the ledger's store.
        flow: the flow as it was read; if it was advanced since, it does not end.
        state: SUCCESS, FAILURE, or REVOKED.
        reason: the reason for another state than SUCCESS.
        meta: the result in Celery's format.
        error: the error as JSON.

    Returns:
        ``done``, ``stale``, or ``over``, and the id of its parent flow if that can be advanced now.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    verdict, *parent = store.script("end_flow", flow.id, flow.progress.version, str(state), reason or "", meta, error)
    return str(verdict), next(iter(parent), "") or None


def rest_flow(store: Store, flow: Flow) -> bool:
    """Remove the outbox entry of a flow; return False if something has happened since the flow was read.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    return bool(store.script("rest_flow", flow.id, flow.progress.version, flow.progress.news))


class StepBrought:
    """The results of a step, which are read on demand. They do not change after the step has ended.

    Args:
        store: the ledger's store.
        flow: the id of the flow.
        step: the name of the step.
        items: the number of its runs; None for a step without items.
        state: the state of the step.
    """

    def __init__(self, store: Store, flow: str, step: str, items: int | None, state: State) -> None:
        self._store, self._flow, self._step = store, flow, step
        self._items = items
        self.state = str(state)

    @cached_property
    def result(self) -> Any:
        """Return the result of its only run; None if the run has not succeeded.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        return next(self._read([step_run_id(self._flow, self._step)]))

    @cached_property
    def results(self) -> list[Any]:
        """Return the results of its runs in the order of the items, with None for runs that have not succeeded.

        Raises:
            NoValue: the results are larger than :data:`MOST_RESULTS`.
            Unavailable: Redis cannot be reached.
        """
        ids = [step_run_id(self._flow, self._step, item) for item in range(self._items or 0)]
        self._check_size(ids)
        return list(self._read(ids))

    def _read(self, ids: Sequence[str]) -> Iterator[Any]:
        for found in self._ask("get", ids):
            yield from map(_result, found)

    def _ask(self, command: str, ids: Sequence[str]) -> Iterator[list[Any]]:
        """Yield the answers to a command about the results of runs, in batches."""
        for first in range(0, len(ids), _READ_AT_ONCE):
            with reaching(self._store.settings), self._store.client.pipeline(transaction=False) as pipe:
                for run_id in ids[first : first + _READ_AT_ONCE]:
                    getattr(pipe, command)(meta_key(run_id))
                found = pipe.execute(raise_on_error=False)
                for answer in found:
                    # A key of another type is not a result. Other errors of Redis may be temporary.
                    if isinstance(answer, Exception) and "wrong kind of value" not in str(answer):
                        raise answer
            yield found

    def _check_size(self, ids: Sequence[str]) -> None:
        size = sum(length for found in self._ask("strlen", ids) for length in found if isinstance(length, int))
        if size > MOST_RESULTS:
            raise NoValue(
                f"${{steps.{self._step}.results}}: the {len(ids):,} results have {size:,} bytes, at most "
                f"{MOST_RESULTS:,} can be handed over; let the step write files and return their paths"
            )


def _result(meta: Any) -> Any:
    """Return the result of a successful run; None for other runs and for an unreadable result."""
    try:
        held = json.loads(meta) if isinstance(meta, str) else {}
        return held["result"] if held.get("status") == State.SUCCESS else None
    except (ValueError, KeyError, AttributeError, RecursionError):
        return None


def brought_by(store: Store, flow_id: str, progress: FlowProgress, steps: Mapping[str, bool]) -> dict[str, StepBrought]:
    """Return the results and states of the admitted steps of a flow.

    Args:
        store: the ledger's store.
        flow_id: the id of the flow.
        progress: the progress of the flow.
        steps: the names of the steps, and whether each has items.
    """
    found = ((name, has_items, progress.steps.get(name)) for name, has_items in steps.items())
    return {
        name: StepBrought(store, flow_id, name, held.items if has_items else None, held.state)
        for name, has_items, held in found
        if held is not None
    }


def read_results(store: Store, flow_id: str) -> dict[str, StepBrought]:
    """Return the current results and states of the steps of a flow, also after its end; empty for other runs.

    Raises:
        Unavailable: Redis cannot be reached.
    """
    [found] = store.script("read", flow_id)
    if len(found) < _OF_A_FLOW:
        return {}
    try:
        steps = json.loads(pairs(found[0])["graph"])["steps"]
        has_items = {str(name): "each" in step for name, step in steps.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    return brought_by(store, flow_id, FlowProgress.of(*found[2:]), has_items)
