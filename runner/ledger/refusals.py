"""The errors for submissions that created no run or no safe run, and for step runs that belong to their flow."""

from __future__ import annotations

from collections.abc import Sequence

from runner.errors import BelongsToFlow, JobPaused, KeyConflict, NotHandedOver, Unconfirmed
from runner.ledger.store import CONFIRM_MILLISECONDS
from runner.model.pause import Pause
from runner.model.run import to_timestamp


def conflict(job: str, key: str | None, run_id: str) -> KeyConflict:
    """Return the error for a key that was used with other params, by ``run_id``."""
    return KeyConflict(
        f"key {key!r} of {job} was used with other params, by run {run_id}",
        hint="use another key, or submit with the same params",
    )


def belongs_to_flow(run_id: str, flow: str) -> BelongsToFlow:
    """Return the error for forgetting a step run."""
    return BelongsToFlow(
        f"run {run_id} is a step run of flow {flow} and is forgotten with it", hint=f"runner forget {flow}"
    )


def paused(job: str, pause: Pause) -> JobPaused:
    """Return the error for a paused job."""
    until = f" until {to_timestamp(pause.ends)}" if pause.ends is not None else ""
    why = f": {pause.comment}" if pause.comment else ""
    return JobPaused(
        f"job {job} was paused by {pause.by} at {to_timestamp(pause.since)}{until}{why}",
        hint=f"runner resume {job} (or --all) ends it; submit --force runs it all the same",
    )


def unconfirmed(what: str, run_id: str) -> Unconfirmed:
    """Return the error for a change that was recorded but is on no replica yet."""
    return Unconfirmed(
        f"accepted, not confirmed: no replica has {what} after {CONFIRM_MILLISECONDS / 1000:g} s",
        hint=f"a failover now could lose it; runner status {run_id} tells, and runner doctor tells of replicas",
    )


def not_handed_over(what: str, ids: Sequence[str], trouble: str) -> NotHandedOver:
    """Return the error for recorded runs whose hints RabbitMQ has not confirmed."""
    error = NotHandedOver(
        f"{what} recorded, not handed over: {trouble or 'RabbitMQ did not confirm'}",
        hint="do not submit again: workers look for what is recorded, also while RabbitMQ is away",
    )
    error.run_id, error.run_ids, error.reason = ids[0], tuple(ids), trouble
    return error


def many_not_handed_over(ids: Sequence[str], trouble: str) -> NotHandedOver:
    """Return the same error for runs of a bulk submission."""
    return not_handed_over(f"{len(ids):,} {'runs are' if len(ids) > 1 else 'run is'}", ids, trouble)
