"""Advance a flow: decide what follows and write it, until nothing more follows.

Any number of processes may do so at any time: each change is one script that does nothing if the flow was advanced
since it was read, and all ids are derived from the flow. If a process is killed in between, the flow's entry stays in
the outbox, and another process goes on.
"""

from __future__ import annotations

import json
import logging
import math
import time
from functools import lru_cache

from runner.catalog.steps import flow_of
from runner.errors import WriteRefused
from runner.flows.admitting import Admitting, Batch, KnownJobs
from runner.flows.decide import Decision, Outcome, StepState, decide, in_order
from runner.ledger.failure import Failure
from runner.ledger.flows import Flow, end_flow, make_steps, read_flow, rest_flow, stop_step
from runner.ledger.record import celery_meta, now_text
from runner.ledger.store import Store
from runner.model.duration import format_duration
from runner.model.job import JobSpec
from runner.model.plural import things
from runner.model.run import FailureReason, RevokedReason, State

log = logging.getLogger(__name__)

_WRONG_TYPE = "wrong kind of value"
"""The text of Redis' error for a key of another type."""


def advance(ledger: Store, catalog: KnownJobs, flow_id: str, *, by: str, until: float = math.inf) -> bool:
    """Advance a flow as far as possible, and its parent flow if it ends; return whether anything changed.

    Args:
        ledger: the ledger of the flow.
        catalog: the catalog with the jobs of steps with ``job``; other steps are as they were submitted.
        flow_id: the id of a run. A run that is not an open flow is left alone.
        by: the name of this process, for the log.
        until: the time (``time.monotonic``) at which to stop; the flow's entry then stays in the outbox.

    Raises:
        Unavailable: Redis cannot be reached, or refuses writes; the rest is done later.
    """
    changed = False
    flow: str | None = flow_id
    while flow is not None:
        moved, flow = _Advance(ledger, catalog, flow, by, until).run()
        changed |= moved
    return changed


class _Over(Exception):
    """The flow is no longer active; the argument is its parent flow, if that can be advanced."""


class _Advance:
    """Advances one flow."""

    def __init__(self, ledger: Store, catalog: KnownJobs, flow_id: str, by: str, until: float) -> None:
        self._ledger, self._catalog, self._by, self._until = ledger, catalog, by, until
        self._id = flow_id
        self._changed = False
        self._admitting: Admitting | None = None
        self._damaged = ""
        self._stale = False
        """Whether the last batch did not match the current flow."""
        self._left = False
        """Whether a step is left to other processes, for which the entry stays in the outbox."""

    def run(self) -> tuple[bool, str | None]:
        """Advance the flow; return whether anything changed, and the flow to advance next, if any."""
        flow: Flow | None = None
        while True:
            try:
                flow = flow or self._read()
                following = self._step(flow)
                if following is None and (self._left or rest_flow(self._ledger, flow)):
                    return self._changed, None
                if time.monotonic() >= self._until:
                    return self._changed, None
                flow = following
            except _Over as over:
                return self._changed, over.args[0]
            except WriteRefused as refused:
                if self._damaged or _WRONG_TYPE not in refused.message:
                    raise
                # Another program has written a key of the flow.
                self._damaged = "how far it is"
                flow = None

    def _read(self) -> Flow:
        flow = read_flow(self._ledger, self._id)
        if flow is None:
            raise _Over(None)
        return flow

    def _step(self, flow: Flow) -> Flow | None:
        """Decide and write once; return the updated flow, or None if there was nothing to do."""
        admitting = self._admitting or self._begin(flow)
        if admitting is None or flow.progress.damaged or self._damaged:
            return self._give_up(flow, self._damaged or "how far it is")
        job = admitting.job
        states = {name: StepState(known.items, known.made, known.counts) for name, known in flow.progress.steps.items()}
        decision = decide(job.steps, states, on_failure=job.on_failure, stopping=flow.stopping)
        if decision.end is not None:
            return self._end(flow, job, decision.end)
        return self._apply(flow, decision, admitting)

    def _begin(self, flow: Flow) -> Admitting | None:
        job, run = frozen_job(flow), flow.run
        if job is None or (run.damaged and not _is_sound(flow.record.get("params", "{}"))):
            self._damaged = "its steps or its params"
            return None
        self._admitting = Admitting(self._ledger, self._catalog, job, run)
        return self._admitting

    def _apply(self, flow: Flow, decision: Decision, admitting: Admitting) -> Flow | None:
        before = flow
        # An ending flow admits no more steps, and ending active runs takes no memory.
        if flow.stopping and self._stop(flow, decision):
            return self._read()
        for name, reason in decision.skip:
            following = self._make(flow, name, admitting.skipped(flow, name, reason), admit=False)
            if following is None:
                return self._read_again(flow)
            flow = following
        if self._stop(flow, decision):
            return self._read()
        self._left = False
        for name in () if flow.paused else decision.admit:
            batch = admitting.admitted(flow, name)
            if batch is None:
                self._left = True
                continue
            following = self._make(flow, name, batch, admit=True)
            if following is None:
                return self._read_again(flow)
            flow = following
        return flow if flow is not before else None

    def _read_again(self, flow: Flow) -> Flow:
        """Read a flow again after a failure to create runs."""
        again = self._read()
        if self._stale and again.progress.version == flow.progress.version:
            # It was not advanced meanwhile, so its data does not match its steps.
            self._damaged = "how far it is"
        return again

    def _make(self, flow: Flow, name: str, batch: Batch, *, admit: bool) -> Flow | None:
        """Create runs of a step; return None if the flow has to be read again first."""
        verdict, flow = make_steps(
            self._ledger,
            flow,
            batch.common,
            batch.entries,
            items=batch.items,
            each=self._has_items(name),
            admit=admit,
        )
        if verdict == "over":
            raise _Over(None)
        if verdict != "done":
            self._stale = verdict == "stale"
            return None
        self._changed = True
        return flow

    def _has_items(self, name: str) -> bool:
        return self._admitting is not None and self._admitting.job.steps[name].each is not None

    def _stop(self, flow: Flow, decision: Decision) -> bool:
        """Stop the steps that are to be stopped; return whether there were any."""
        terminate = flow.stopping != "cancelled"
        mark = "terminated" if terminate else "cancelled"
        comment = f"its flow {flow.id} is to end: {flow.stopping or 'a step failed'}"
        stopped = False
        for name in dict.fromkeys((*decision.terminate, *decision.cancel)):
            known = flow.progress.steps.get(name)
            if known is not None and known.stopped not in (mark, "terminated"):
                stop_step(self._ledger, flow.id, name, terminate=terminate, comment=comment)
                stopped = self._changed = True
        return stopped

    def _end(self, flow: Flow, job: JobSpec, outcome: Outcome) -> Flow:
        failure = _failure(flow, job, outcome)
        if outcome.state is State.SUCCESS:
            meta = celery_meta(run_id=flow.id, state=State.SUCCESS, result="null", date_done=now_text())
        elif failure is not None:
            meta = failure.meta(flow.id, State.FAILURE)
        else:
            message = "revoked" if outcome.reason == "cancelled" else outcome.reason
            exception = {"exc_type": "TaskRevokedError", "exc_message": [message], "exc_module": "celery.exceptions"}
            meta = celery_meta(run_id=flow.id, state=outcome.state, result=json.dumps(exception))
        return self._finish(flow, outcome.state, outcome.reason, meta, failure.error() if failure else "")

    def _give_up(self, flow: Flow, what: str) -> Flow:
        """End a flow with unreadable data."""
        log.error("flow %s is damaged: %s cannot be read; it ends in FAILURE", flow.id, what)
        for name in flow.progress.steps:
            stop_step(
                self._ledger, flow.id, name, terminate=True, comment=f"the record of its flow {flow.id} is damaged"
            )
        failure = _failed_with("DamagedRecord", f"the record of the flow is damaged: {what} cannot be read")
        reason = str(FailureReason.INVALID_PARAMS)
        return self._finish(flow, State.FAILURE, reason, failure.meta(flow.id, State.FAILURE), failure.error())

    def _finish(self, flow: Flow, state: State, reason: str | None, meta: str, error: str) -> Flow:
        verdict, parent = end_flow(self._ledger, flow, state, reason=reason, meta=meta, error=error)
        if verdict == "done":
            self._changed = True
            log.info("flow %s ended %s (advanced by %s)", flow.id, f"{state}, {reason}" if reason else state, self._by)
        if verdict != "stale":
            raise _Over(parent)
        return self._read()


def frozen_job(flow: Flow) -> JobSpec | None:
    """Return the job of a flow at its submission; None if its record is damaged."""
    try:
        return _frozen(flow.record["job"], flow.record["graph"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _is_sound(params: str) -> bool:
    try:
        return isinstance(json.loads(params), dict)
    except (ValueError, RecursionError):
        return False


@lru_cache(maxsize=64)
def _frozen(name: str, graph: str) -> JobSpec:
    job = flow_of(name, json.loads(graph))
    before: set[str] = set()
    for step in in_order(job.steps):
        if not before.issuperset(job.steps[step].needs):
            raise ValueError("a step needs one that never ends")
        before.add(step)
    if not before:
        raise ValueError("it has no steps")
    return job


def _failure(flow: Flow, job: JobSpec, outcome: Outcome) -> Failure | None:
    if outcome.state is not State.FAILURE:
        return None
    if outcome.reason == FailureReason.TIMEOUT:
        return _failed_with("TimeLimitExceeded", f"the flow took longer than {format_duration(job.timeout or 0.0)}")
    return _failed_with("StepFailed", "; ".join(_blame(flow, name) for name in outcome.failed))


def _blame(flow: Flow, name: str) -> str:
    known = flow.progress.steps[name]
    failed = sum(known.counts.get(state, 0) for state in ("FAILURE", "REVOKED", "UPSTREAM"))
    if known.items > 1:
        return f"{name} failed ({failed} of {things(known.items, 'item')})"
    if known.reason == RevokedReason.REJECTED:
        return f"{name} was rejected"
    return f"{name} failed" if known.counts.get("FAILURE") else f"{name} was revoked ({known.reason})"


def _failed_with(kind: str, message: str) -> Failure:
    return Failure(kind, message, None, {"exc_type": kind, "exc_message": [message], "exc_module": "runner.flows"})
