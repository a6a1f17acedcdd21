"""Approve or reject a step of a flow that waits for a person."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from runner.actions.find import find_run
from runner.actions.submit import submitter
from runner.errors import AmbiguousId, NotWaiting, Unavailable
from runner.flows.advance import advance
from runner.ledger.approvals import answer_approval
from runner.model.run import Run, State

if TYPE_CHECKING:
    from runner.actions.project import Project


def approve(
    project: Project, reference: str, *, approved: bool = True, comment: str | None = None, by: str | None = None
) -> Run:
    """End an approval and advance its flow; return the approval's run.

    Args:
        project: whose run.
        reference: the id of the approval's run, or of a flow that waits for only one approval; or a prefix.
        approved: False rejects it: it ends in REVOKED, rejected.
        comment: why.
        by: who; ``user@host`` by default.

    Raises:
        NotWaiting: the run is not an approval, or is not waiting for one now.
        UnknownRun, AmbiguousId: see :func:`runner.actions.find.find_id`.
        Unavailable: Redis cannot be reached.
    """
    run_id = _approval_of(find_run(project, reference, reading=False))
    who = by or submitter()
    run = answer_approval(project.ledger, run_id, approved=approved, by=who, comment=comment)
    if run.flow is not None:
        # The answer is recorded. If Redis is unreachable now, the process that drains the outbox advances the flow.
        with contextlib.suppress(Unavailable):
            advance(project.ledger, project.catalog, run.flow, by=who)
    return run


def _approval_of(run: Run) -> str:
    """Return the id of the approval for a run."""
    if run.archived:
        raise NotWaiting(
            f"run {run.id} of {run.job} does not wait for an approval any more: it is {run.state}",
            hint=f"runner status {run.id}",
        )
    waiting = [
        (step["name"], step["run"])
        for step in run.steps or ()
        if step["kind"] == "approval" and step["state"] is State.PENDING and step["counts"]
    ]
    if len(waiting) > 1:
        named = ", ".join(f"{run_id} ({name})" for name, run_id in waiting)
        raise AmbiguousId(f"flow {run.id} waits for more than one approval: {named}", hint="give the id of one")
    return waiting[0][1] if waiting else run.id
