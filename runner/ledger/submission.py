"""A submission: what is asked for, what is answered, and how ``submit.lua`` is told of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner import tracing
from runner.ledger.message import write_message
from runner.ledger.record import pack_digest
from runner.model.job import JobSpec
from runner.model.run import Run, State, to_timestamp
from runner.settings import Settings

if TYPE_CHECKING:
    from runner.ledger.attempt import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What is submitted. Times are seconds; ``eta`` is a Unix time.

    ``params`` are checked already, defaults filled in. ``expires`` counts from ``eta``, else from
    the submission. The id is made by the submitter, so that it can be named even if no answer
    comes back.
    """

    id: str
    job: JobSpec
    params: Mapping[str, Any]
    queue: str
    priority: int
    trigger: str
    submitted_by: str | None = None
    key: str | None = None
    eta: float | None = None
    delay: float | None = None
    """Seconds to wait, counted by Redis' clock; instead of ``eta``."""
    expires: float | None = None
    slot: int | None = None
    """Unix time in milliseconds; a job's slots are submitted in order, each makes one run."""
    rerun_of: str | None = None
    hook_of: str | None = None
    forced: bool = False
    """It runs although its job is paused."""
    adopted: bool = False
    """A plain Celery client waits under this id: a duplicate is recorded, and skipped."""
    refusal: Failure | None = None
    """Why it is recorded and never starts: FAILURE, invalid_params."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submission: the run it made, or the one that existed.

    ``run`` is None if the run that a key stands for has been pruned or forgotten since.
    """

    id: str
    run: Run | None
    duplicate: bool


def arguments_of(submission: Submission, settings: Settings) -> list[Any]:
    """Return what ``submit.lua`` takes for a submission to a project with these settings."""
    job, params = submission.job, _canonical(submission.params)
    return [
        submission.id,
        job.name,
        write_message(
            run_id=submission.id,
            job=job.name,
            params=submission.params,
            digest=job.digest,
            queue=submission.queue,
            priority=submission.priority,
        ),
        submission.key or "",
        hashlib.sha256(params.encode()).hexdigest()[:16],
        milliseconds(settings.retention.key),
        _start(submission),
        milliseconds(submission.expires) if submission.expires is not None else "",
        submission.refusal.meta(submission.id, State.FAILURE) if submission.refusal is not None else "",
        *_record(submission, params, settings),
    ]


def _start(submission: Submission) -> str | int:
    """Return the Unix ms before which the run does not start, or ``+`` and the ms to wait."""
    if submission.delay is not None:
        return f"+{milliseconds(max(0.0, submission.delay))}"
    return milliseconds(submission.eta) if submission.eta is not None else ""


def milliseconds(seconds: float) -> int:
    """Return the whole milliseconds of some seconds."""
    return round(seconds * 1000)


def _record(submission: Submission, params: str, settings: Settings) -> list[str | int]:
    """Return the fields of a run's record, each name followed by its value."""
    kept, default = submission.job.retention, settings.retention
    fields: dict[str, str | int | None] = {
        "queue": submission.queue,
        "priority": submission.priority,
        "trigger": submission.trigger,
        "submitted_by": submission.submitted_by,
        "key": submission.key,
        "slot": submission.slot,
        "rerun_of": submission.rerun_of,
        "hook_of": submission.hook_of,
        "hooks": ",".join(submission.job.hooks.names()) or None,
        **_unique(submission),
        **_concurrency(submission),
        "forced": 1 if submission.forced else None,
        "spec_digest": pack_digest(submission.job.digest),
        "params": params,
        "tags": json.dumps(list(submission.job.tags)) if submission.job.tags else None,
        "delivery": submission.job.delivery if submission.job.delivery != "at_least_once" else None,
        "max_deliveries": submission.job.max_deliveries,
        "keep_result": milliseconds(kept.result if kept.result is not None else default.result),
        "keep_history": milliseconds(kept.history if kept.history is not None else default.history),
        "keep_runs": kept.runs if kept.runs is not None else default.runs,
        "error": submission.refusal.error() if submission.refusal is not None else None,
        "traceparent": tracing.submitted(submission.job.name, submission.id, submission.trigger),
    }
    return [part for name, value in fields.items() if value is not None for part in (name, value)]


def _unique(submission: Submission) -> dict[str, str | int]:
    """Return what makes a submission the same as another; nothing for a rerun, which is meant to be one more."""
    unique = submission.job.unique
    if unique is None or submission.rerun_of is not None:
        return {}
    values = {name: submission.params.get(name) for name in unique.by} if unique.by else submission.params
    digest = hashlib.sha256(_canonical(values).encode()).hexdigest()[:32]
    return {
        "unique": digest,
        "unique_for": milliseconds(unique.for_),
        **({"adopted": 1} if submission.adopted else {}),
    }


def _concurrency(submission: Submission) -> dict[str, str | int]:
    """Return the group that a run is counted in, how many may be in it, and what becomes of one more."""
    concurrency = submission.job.concurrency
    if concurrency is None:
        return {}
    slot = (to_timestamp(submission.slot) or "") if submission.slot is not None else ""
    group = concurrency.group(submission.job.name, submission.params, run_id=submission.id, slot=slot)
    return {"group": group, "limit": concurrency.limit, "policy": concurrency.policy}


def _canonical(params: Mapping[str, Any]) -> str:
    return json.dumps(dict(params), sort_keys=True, separators=(",", ":"))
