"""Admit runs: every request becomes a submission or raises a typed error.

The command line, the Python API, the web server, hooks, schedules, reruns, the generated Celery app, and messages of
plain Celery clients all call :func:`admit`. A submission that it returns can be recorded, read back, and shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from runner._dataclass import dataclass
from runner.errors import JobDisabled, RunnerError, UsageError
from runner.ledger.failure import Failure
from runner.ledger.submission import Submission
from runner.model.job import JobSpec
from runner.model.run_id import require_run_id
from runner.model.submit_options import NO_OPTIONS, SubmitOptions
from runner.params.check import check_params, check_size

if TYPE_CHECKING:
    from runner.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The origin of a submission; see :class:`~runner.ledger.submission.Submission` for the fields."""

    trigger: str
    submitted_by: str | None = None
    slot: int | None = None
    rerun_of: str | None = None
    hook_of: str | None = None
    backfill: str | None = None
    at_once: int | None = None
    again: bool = False
    adopted: bool = False


def admit(
    job: JobSpec,
    params: Mapping[str, Any],
    settings: Settings,
    *,
    run_id: str,
    origin: Origin,
    options: SubmitOptions = NO_OPTIONS,
    keep_key: float | None = None,
) -> Submission:
    """Return the submission of a run of ``job``.

    ``keep_key``: see :class:`~runner.ledger.submission.Submission`.

    Raises:
        JobDisabled: the job has ``enabled: false``.
        InvalidParams: ``params`` do not match the job's declaration, or are larger than ``limits.params``.
        UsageError: the id is invalid, or the job is a step of another job.
    """
    _check_admitted(job)
    require_run_id(run_id)
    given = admit_params(job, params, settings)
    return replace(_submission(job, origin, options, run_id, given), keep_key=keep_key)


def admit_many(job: JobSpec, *, origin: Origin, options: SubmitOptions = NO_OPTIONS) -> Submission:
    """Return the common part of runs of ``job`` that are submitted together; see :func:`admit_params`.

    Raises:
        JobDisabled: the job has ``enabled: false``.
        UsageError: the job is a step of another job.
    """
    _check_admitted(job)
    return _submission(job, origin, options, "", {})


def admit_params(job: JobSpec, params: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return params with defaults filled in.

    Raises:
        InvalidParams: they do not match the job's declaration, or are larger than ``limits.params``.
    """
    given = check_params(job, params)
    check_size(given, settings.limits.params)
    return given


def _check_admitted(job: JobSpec) -> None:
    if job.flow is not None:
        raise UsageError(
            f"{job.name} is a step, which runs within its flow alone", hint=f"run: runner submit {job.flow}"
        )
    if not job.enabled:
        raise JobDisabled(f"job {job.name} is disabled", hint=f"set enabled: true in {job.file}, line {job.line}")


def _submission(
    job: JobSpec, origin: Origin, options: SubmitOptions, run_id: str, params: Mapping[str, Any]
) -> Submission:
    return Submission(
        id=run_id,
        job=job,
        params=params,
        queue=job.queue if options.queue is None else options.queue,
        priority=job.priority if options.priority is None else options.priority,
        trigger=origin.trigger,
        submitted_by=origin.submitted_by,
        key=options.key,
        eta=options.at,
        delay=options.delay,
        expires=_expires(job, origin, options),
        slot=origin.slot,
        rerun_of=origin.rerun_of,
        hook_of=origin.hook_of,
        backfill=origin.backfill,
        at_once=origin.at_once,
        again=origin.again,
        forced=options.force,
        adopted=origin.adopted,
        drop_result=options.drop_result,
    )


def _expires(job: JobSpec, origin: Origin, options: SubmitOptions) -> float | None:
    if options.expired:
        return 0.0
    if options.expires is not None:
        return options.expires
    # A run for a past slot is late anyway, and may have to wait for many others.
    return None if origin.backfill is not None else job.expires


def refused(
    job: JobSpec,
    error: RunnerError,
    *,
    run_id: str,
    origin: Origin,
    key: str | None = None,
    keep_key: float | None = None,
) -> Submission:
    """Return the submission that records a refusal without a caller to report it to: FAILURE, invalid_params."""
    return Submission(
        id=require_run_id(run_id),
        job=job,
        params={},
        queue=job.queue,
        priority=job.priority,
        trigger=origin.trigger,
        submitted_by=origin.submitted_by,
        slot=origin.slot,
        hook_of=origin.hook_of,
        backfill=origin.backfill,
        again=origin.again,
        adopted=origin.adopted,
        refusal=failure_of(error),
        key=key,
        keep_key=keep_key,
    )


def failure_of(error: RunnerError) -> Failure:
    """Return a :class:`RunnerError` in the form of a run's record."""
    name = type(error).__name__
    return Failure(
        type=f"{type(error).__module__}.{name}",
        message=error.message,
        traceback=None,
        celery={"exc_type": name, "exc_message": [error.message], "exc_module": type(error).__module__},
    )
