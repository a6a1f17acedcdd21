"""A submission: what is asked for, what is answered, and how the scripts are told of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from runner import tracing
from runner._dataclass import dataclass
from runner.ledger.failure import Failure
from runner.ledger.message import write_message
from runner.ledger.record import DEFAULTS, pack_digest, pairs, read_record
from runner.model.duration import milliseconds
from runner.model.job import JOB, JobSpec
from runner.model.run import Run, State, to_timestamp
from runner.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A submission. Times are seconds; ``eta`` is a Unix time.

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
    keep_key: float | None = None
    """Seconds for which the key is known; ``retention.key`` by default."""
    eta: float | None = None
    delay: float | None = None
    """Seconds to wait, counted by Redis' clock; instead of ``eta``."""
    expires: float | None = None
    slot: int | None = None
    """Unix time in milliseconds; a job's slots are submitted in order, each makes one run."""
    rerun_of: str | None = None
    hook_of: str | None = None
    backfill: str | None = None
    at_once: int | None = None
    """How many runs of its backfill may be under way at once; None: any number."""
    again: bool = False
    """It runs its slot although that had a run before."""
    forced: bool = False
    """It runs although its job is paused."""
    adopted: bool = False
    """A plain Celery client waits under this id: a duplicate is recorded, and skipped."""
    drop_result: bool = False
    """The submitter does not want the result stored, whatever the job says."""
    refusal: Failure | None = None
    """Why it is recorded and never starts: FAILURE, invalid_params."""
    steps_queue: str | None = None
    """Of a flow: the queue of all runs of its steps, whatever their jobs say."""
    reuse: str | None = None
    """Of a flow: another one, whose results are taken where they would be the same."""
    step_of: StepOf | None = None
    """The step whose run it is; such runs are made by :func:`runner.ledger.flows.make_steps`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOf:
    """A step of a flow, of which a run is made. ``job`` is that of the flow, ``level`` counts from 1."""

    flow: str
    job: str
    step: str
    level: int = 1
    approval: bool = False
    traceparent: str | None = None


class Entry(NamedTuple):
    """The fields by which runs of a bulk submission differ. They are those of a submission."""

    id: str
    params: Mapping[str, Any]
    key: str | None = None


class StepEntry(NamedTuple):
    """One run of a step.

    ``how`` it begins: ``run``; ``revoke`` ends it REVOKED at once, for the reason ``detail``, and so does ``pass`` if
    it ended so in the flow that is repeated; ``refuse`` ends it in FAILURE, for the reason ``detail`` with the error
    ``refusal``; ``reuse`` takes the result of the run ``detail``.
    """

    id: str
    params: Mapping[str, Any]
    how: str = "run"
    detail: str = ""
    refusal: Failure | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submission: the id of the run it made, or of the one that existed.

    ``record`` is that of the run as Redis sent it, with its result in Celery's format. It is empty if the run that a
    key stands for has been pruned or forgotten since, and after a bulk submission, which reads no records back.
    ``handed_over`` is false if RabbitMQ has not confirmed that it knows of the run; ``record`` is empty then, too.
    """

    id: str
    duplicate: bool
    record: tuple[Sequence[str], str | None] = ((), None)
    handed_over: bool = True

    @property
    def run(self) -> Run | None:
        """The run as it was then; None without a record."""
        flat, meta = self.record
        return read_record(self.id, pairs(flat), meta) if flat else None


def arguments_of(submission: Submission, settings: Settings) -> list[Any]:
    """Return the arguments of ``submit.lua`` for a submission to a project with these settings."""
    entry = Entry(submission.id, submission.params, submission.key)
    params = write_params(entry.params)
    return [
        entry.id,
        submission.job.name,
        _message(submission, entry),
        entry.key or "",
        _digest(params),
        milliseconds(settings.retention.key if submission.keep_key is None else submission.keep_key),
        _start(submission),
        milliseconds(submission.expires) if submission.expires is not None else "",
        submission.refusal.meta(submission.id, State.FAILURE) if submission.refusal is not None else "",
        *_flat({**_common(submission, settings), **_own(submission, entry, params, traced=tracing.is_asked())}),
    ]


def arguments_of_many(common: Submission, entries: Sequence[Entry], settings: Settings) -> list[Any]:
    """Return the arguments of ``submit_many.lua`` for runs that differ only in their entries.

    Args:
        common: a submission of the job, with all that is asked for; its own id, params, and key are not used.
        entries: at least one.
        settings: of the project.
    """
    traced = tracing.is_asked()
    shared = _flat(_common(common, settings))
    names: list[str] = []
    runs: list[Any] = []
    for entry in entries:
        params = write_params(entry.params)
        own = _own(common, entry, params, traced=traced)
        names = names or list(own)
        runs += entry.id, _message(common, entry), entry.key or "", _digest(params)
        runs += own.values()
    return [
        common.job.name,
        milliseconds(settings.retention.key),
        _start(common),
        milliseconds(common.expires) if common.expires is not None else "",
        len(shared),
        len(names),
        *shared,
        *names,
        *runs,
    ]


def arguments_of_steps(common: Submission, entries: Sequence[StepEntry], settings: Settings) -> list[Any]:
    """Return the arguments of ``advance.lua``, from the job on, for runs of one step.

    Args:
        common: a submission of the step's job; its own id, params, and key are not used.
        entries: the runs in the order of the items, maybe none.
        settings: of the project.
    """
    shared = _flat(_common(common, settings))
    reuses, refuses = (any(each.how == how for each in entries) for how in ("reuse", "refuse"))
    approval = common.step_of is not None and common.step_of.approval
    names: list[str] = []
    runs: list[Any] = []
    for entry in entries:
        fields = _own(common, Entry(entry.id, entry.params), write_params(entry.params), traced=False)
        if reuses:
            fields["reused_from"] = entry.detail if entry.how == "reuse" else ""
        if refuses:
            fields["error"] = entry.refusal.error() if entry.refusal is not None else ""
        message = "" if approval else _message(common, entry)
        if entry.refusal is not None:
            message = entry.refusal.meta(entry.id, State.FAILURE)
        names = names or list(fields)
        runs += (entry.id, entry.how, entry.detail, message, *fields.values())
    expires = milliseconds(common.expires) if common.expires is not None else ""
    return [common.job.name, expires, len(shared), len(names), *shared, *names, *runs]


def _message(submission: Submission, entry: Entry | StepEntry) -> str:
    return write_message(run_id=entry.id, job=submission.job.name, digest=pack_digest(submission.job.digest))


def _digest(params: str) -> str:
    """Return a digest that tells whether a key was used with the same params."""
    return hashlib.sha256(params.encode()).hexdigest()[:16]


def _start(submission: Submission) -> str | int:
    """Return the Unix ms before which the run does not start, or ``+`` and the ms to wait."""
    if submission.delay is not None:
        return f"+{milliseconds(max(0.0, submission.delay))}"
    return milliseconds(submission.eta) if submission.eta is not None else ""


def _flat(fields: Mapping[str, str | int | None]) -> list[str | int]:
    """Return the fields of a record that have a value to write, each name followed by its value."""
    return [
        part
        for name, value in fields.items()
        if value is not None and value != DEFAULTS.get(name)
        for part in (name, value)
    ]


def _common(submission: Submission, settings: Settings) -> dict[str, str | int | None]:
    """Return the fields of a record that are the same for all runs of a bulk submission."""
    job, kept, default = submission.job, submission.job.retention, settings.retention
    unique = job.unique if _may_repeat(submission) else None
    step = submission.step_of
    # What is kept of a step run is kept as long as its flow.
    keeps = step is None
    return {
        "queue": submission.queue,
        "priority": submission.priority,
        "trigger": submission.trigger,
        "submitted_by": submission.submitted_by,
        "slot": submission.slot,
        "rerun_of": submission.rerun_of,
        "hook_of": submission.hook_of,
        "backfill": submission.backfill,
        "at_once": submission.at_once,
        "again": 1 if submission.again else None,
        "hooks": ",".join(job.hooks.names()) or None,
        "overrun": milliseconds(job.overrun) if job.overrun is not None else None,
        "count_failures": job.pause_after or (0 if job.hooks.counts_failures else None),
        "unique_for": milliseconds(unique.for_) if unique is not None else None,
        "adopted": 1 if submission.adopted and unique is not None else None,
        "limit": job.concurrency.limit if job.concurrency is not None else None,
        # Each slot of a backfill, and each item of a step, is to have a run: none is skipped, or replaces another.
        "policy": (
            ("queue" if submission.backfill or step is not None else job.concurrency.policy)
            if job.concurrency is not None
            else None
        ),
        "rate": f"{job.rate.limit} {milliseconds(job.rate.per)}" if job.rate is not None else None,
        "requires": " ".join(f"{each.job} {milliseconds(each.within)}" for each in job.require) or None,
        "forced": 1 if submission.forced else None,
        "drop_result": 1 if submission.drop_result else None,
        "spec_digest": pack_digest(job.digest),
        "tags": json.dumps(list(job.tags)) if job.tags else None,
        # A flow is begun as often as it takes: that performs nothing. Its steps have these options.
        "delivery": job.delivery if job.delivery != "at_least_once" and not job.is_flow else None,
        "max_deliveries": _OFTEN if job.is_flow else job.max_deliveries,
        "keep_result": milliseconds(kept.result if kept.result is not None else default.result) if keeps else None,
        "keep_history": milliseconds(kept.history if kept.history is not None else default.history) if keeps else None,
        "keep_least": milliseconds(kept.keep_at_least if kept.keep_at_least is not None else default.keep_at_least)
        if keeps
        else None,
        "keep_runs": (kept.runs if kept.runs is not None else default.runs) if keeps else None,
        "error": submission.refusal.error() if submission.refusal is not None else None,
        **(_of_flow(submission) if job.is_flow else {}),
        **(_of_step(step, job) if step is not None else {}),
    }


def _of_flow(submission: Submission) -> dict[str, str | int | None]:
    """Return the fields that the record of a flow has: its job as it is now, and what limits it."""
    job = submission.job
    return {
        "graph": _to_text(JOB.write(job)),
        "timeout": milliseconds(job.timeout) if job.timeout is not None else None,
        "reuse": submission.reuse,
        "steps_queue": submission.steps_queue,
    }


def _of_step(step: StepOf, job: JobSpec) -> dict[str, str | int | None]:
    """Return the fields that the record of a step run has."""
    return {
        "flow": step.flow,
        # Of the run of a step's task it stands in the name of the run's job.
        "flow_job": step.job if "/" not in job.name else None,
        "step": step.step,
        "level": step.level if job.is_flow else None,
        "approval": 1 if step.approval else None,
        "traceparent": step.traceparent,
    }


def _may_repeat(submission: Submission) -> bool:
    """Return whether a submission may be the same as another. A rerun, a slot of a backfill, and a step are to run."""
    return submission.rerun_of is None and submission.backfill is None and submission.step_of is None


def _own(submission: Submission, entry: Entry, params: str, *, traced: bool) -> dict[str, str]:
    """Return the fields of a record that each run has for itself.

    Which ones there are depends on the submission and on whether the entry has a key. What makes a submission the same
    as another is not among them for a rerun, which is meant to be one more.
    """
    job = submission.job
    fields = {"params": params}
    if entry.key is not None:
        fields["key"] = entry.key
    if job.unique is not None and _may_repeat(submission):
        values = {name: entry.params.get(name) for name in job.unique.by} if job.unique.by else entry.params
        fields["unique"] = hashlib.sha256(write_params(values).encode()).hexdigest()[:32]
    slot = (to_timestamp(submission.slot) or "") if submission.slot is not None else ""
    if job.rate is not None:
        fields["rate_group"] = job.rate.group(job.name, entry.params, run_id=entry.id, slot=slot)
    if job.concurrency is not None:
        fields["group"] = job.concurrency.group(job.name, entry.params, run_id=entry.id, slot=slot)
    if traced:
        fields["traceparent"] = tracing.submitted(job.name, entry.id, submission.trigger) or ""
    return fields


_OFTEN = 1_000_000
"""Attempts lost in a row, which no flow sees."""
_to_text = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
"""Keeps the order, which that of the steps is."""
_to_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def write_params(params: Mapping[str, Any]) -> str:
    """Return params as JSON, always in the same order."""
    return _to_json(dict(params))
