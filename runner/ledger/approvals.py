"""Approvals: steps of flows that wait for a person's answer."""

from __future__ import annotations

import json

from runner.errors import NotWaiting
from runner.ledger.attempt import success_meta
from runner.ledger.audit import log_act
from runner.ledger.reading import get_run, unknown_run
from runner.ledger.refusals import unconfirmed
from runner.ledger.store import Store
from runner.model.act import ActName
from runner.model.run import Run
from runner.model.storable import cut, storable

LONGEST_COMMENT = 500
"""The maximum length of a comment (characters)."""


def answer_approval(store: Store, run_id: str, *, approved: bool, by: str, comment: str | None) -> Run:
    """Approve or reject a step: PENDING -> SUCCESS | REVOKED; return its run.

    Raises:
        UnknownRun: the run does not exist.
        NotWaiting: the run is not an approval, or it has ended.
        Unconfirmed: the answer was recorded, but no replica has it yet (``durability: replicated``).
        Unavailable: Redis cannot be reached.
    """
    comment = cut(storable(comment), LONGEST_COMMENT) if comment else None
    act: ActName = "approve" if approved else "reject"
    meta = success_meta(run_id, json.dumps({"approved_by": by, "comment": comment})) if approved else ""
    (answer, *state), confirmed = store.confirmed("approve", run_id, act, by, comment or "", meta)
    if answer == "unknown":
        raise unknown_run(run_id)
    run = get_run(store, run_id)
    if answer != "done":
        raise _not_waiting(run, state[0] if state else None)
    log_act(act, by, job=run.job, run_id=run_id, comment=comment)
    if not confirmed:
        raise unconfirmed(f"the answer to approval {run_id}", run_id)
    return run


def _not_waiting(run: Run, state: str | None) -> NotWaiting:
    if state is None:
        what = "waits for its steps" if run.steps is not None and not run.final else "is no approval"
        return NotWaiting(
            f"run {run.id} of {run.job} does not wait for an approval: it {what}", hint=f"runner why {run.id}"
        )
    return NotWaiting(
        f"run {run.id} of {run.job} does not wait for an approval any more: it is {state}",
        hint=f"runner status {run.id}",
    )
