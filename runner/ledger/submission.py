"""Submissions: the request, the answer, and the arguments of the scripts."""

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
    """A submission. Times are in seconds; ``eta`` is a Unix time.

    ``params`` are validated and have their defaults. ``expires`` counts from ``eta``, or from the submission without
    one. The submitter chooses the id, so that it knows the id even without an answer.
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
    """Seconds for which the key is kept; ``retention.key`` by default."""
    eta: float | None = None
    delay: float | None = None
    """Seconds to wait by Redis' clock, instead of ``eta``."""
    expires: float | None = None
    slot: int | None = None
    """The schedule slot (Unix ms). A job's slots are submitted in order, and each has one run."""
    rerun_of: str | None = None
    hook_of: str | None = None
    backfill: str | None = None
    at_once: int | None = None
    """The maximum number of active runs of its backfill; None: no limit."""
    again: bool = False
    """Whether it runs even if its slot had a run before."""
    forced: bool = False
    """Whether it runs even if its job is paused."""
    adopted: bool = False
    """Whether a plain Celery client waits for this id: a duplicate is then recorded and skipped."""
    drop_result: bool = False
    """Whether the submitter asked not to store the result, whatever the job's options are."""
    refusal: Failure | None = None
    """The error of a run that is recorded but never starts: FAILURE, invalid_params."""
    steps_queue: str | None = None
    """For a flow: the queue of all of its step runs, instead of their jobs' queues."""
    reuse: str | None = None
    """For a flow: the id of another flow whose results are reused where they would be the same."""
    step_of: StepOf | None = None
    """The step of a step run, which :func:`runner.ledger.flows.make_steps` creates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOf:
    """A step of a flow. ``job`` is the job of the flow; ``level`` counts from 1."""

    flow: str
    job: str
    step: str
    level: int = 1
    approval: bool = False
    traceparent: str | None = None


class Entry(NamedTuple):
    """The fields in which runs of a bulk submission differ, as in a submission."""

    id: str
    params: Mapping[str, Any]
    key: str | None = None


class StepEntry(NamedTuple):
    """One run of a step.

    ``how`` it begins: ``run`` starts it; ``revoke`` ends it in REVOKED with the reason ``detail``, and so does ``pass``
    for a run that ended so in the repeated flow; ``refuse`` ends it in FAILURE with the reason ``detail`` and the error
    ``refusal``; ``reuse`` takes the result of the run ``detail``.
    """

    id: str
    params: Mapping[str, Any]
    how: str = "run"
    detail: str = ""
    refusal: Failure | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to a submission: the id of the new run or of the existing one.

    ``record``: the record of the run from Redis, with its result in Celery's format. It is empty if the run of a key
    was pruned or forgotten since, and after a bulk submission, which reads no records. ``handed_over`` is False if
    RabbitMQ has not confirmed the hint; ``record`` is then empty, too.
    """

    id: str
    duplicate: bool
    record: tuple[Sequence[str], str | None] = ((), None)
    handed_over: bool = True

    @property
    def run(self) -> Run | None:
        """Return the run at that time; None without a record."""
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
        common: a submission of the job; its id, params, and key are not used.
        entries: at least one entry.
        settings: the settings of the project.
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
        common: a submission of the step's job; its id, params, and key are not used.
        entries: the runs in the order of the items; may be empty.
        settings: the settings of the project.
    """
    shared = _flat(_common(common, settings))
    reuses, refuses = (any(entry.how == how for entry in entries) for how in ("reuse", "refuse"))
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
    """Return a digest for checking that a key is used with the same params."""
    return hashlib.sha256(params.encode()).hexdigest()[:16]


def _start(submission: Submission) -> str | int:
    """Return the earliest start (Unix ms), or ``+`` and the delay (ms)."""
    if submission.delay is not None:
        return f"+{milliseconds(max(0.0, submission.delay))}"
    return milliseconds(submission.eta) if submission.eta is not None else ""


def _flat(fields: Mapping[str, str | int | None]) -> list[str | int]:
    """Return the fields of a record with values, as alternating names and values."""
    return [
        part
        for name, value in fields.items()
        if value is not None and value != DEFAULTS.get(name)
        for part in (name, value)
    ]


def _common(submission: Submission, settings: Settings) -> dict[str, str | int | None]:
    """Return the fields of a record that all runs of a bulk submission share."""
    job, kept, default = submission.job, submission.job.retention, settings.retention
    unique = job.unique if _may_repeat(submission) else None
    step = submission.step_of
    # The data of a step run is kept as long as its flow.
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
        # Each slot of a backfill and each item of a step must have a run, so none is skipped or replaces another.
        "policy": (
            ("queue" if submission.backfill or step is not None else job.concurrency.policy)
            if job.concurrency is not None
            else None
        ),
        "rate": f"{job.rate.limit} {milliseconds(job.rate.per)}" if job.rate is not None else None,
        "requires": " ".join(f"{requirement.job} {milliseconds(requirement.within)}" for requirement in job.require)
        or None,
        "forced": 1 if submission.forced else None,
        "drop_result": 1 if submission.drop_result else None,
        "spec_digest": pack_digest(job.digest),
        "tags": json.dumps(list(job.tags)) if job.tags else None,
        # Beginning a flow performs nothing, so it is retried without limit. These options apply to its steps.
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
    """Return the additional fields of a flow's record: the current options of its job, and its limits."""
    job = submission.job
    return {
        "graph": _to_text(JOB.write(job)),
        "timeout": milliseconds(job.timeout) if job.timeout is not None else None,
        "reuse": submission.reuse,
        "steps_queue": submission.steps_queue,
    }


def _of_step(step: StepOf, job: JobSpec) -> dict[str, str | int | None]:
    """Return the additional fields of a step run's record."""
    return {
        "flow": step.flow,
        # For the run of a step's task, the name of the run's job contains it.
        "flow_job": step.job if "/" not in job.name else None,
        "step": step.step,
        "level": step.level if job.is_flow else None,
        "approval": 1 if step.approval else None,
        "traceparent": step.traceparent,
    }


def _may_repeat(submission: Submission) -> bool:
    """Return whether a submission may be a duplicate. A rerun, a backfill slot, and a step never are."""
    return submission.rerun_of is None and submission.backfill is None and submission.step_of is None


def _own(submission: Submission, entry: Entry, params: str, *, traced: bool) -> dict[str, str]:
    """Return the fields of a record that differ between runs.

    They depend on the submission and on whether the entry has a key. For a rerun, the fields that identify duplicates
    are left out, because a rerun is never a duplicate.
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
"""The number of lost attempts in a row, which does not matter for flows."""
_to_text = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
"""Keeps the order of the steps."""
_to_json = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def write_params(params: Mapping[str, Any]) -> str:
    """Return params as JSON with sorted keys."""
    return _to_json(dict(params))
