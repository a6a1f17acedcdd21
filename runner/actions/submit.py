"""Submit a run of a job."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from runner.errors import NotHandedOver, Unavailable
from runner.host.users import current_user
from runner.ledger.admission import Origin, admit
from runner.ledger.submission import Submitted
from runner.model.submit_options import NO_OPTIONS, SubmitOptions
from runner.params.reading import read_params

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.submission import Submission

_log = logging.getLogger(__name__)


def new_id() -> str:
    """Return a new run id. The submitter chooses it, so that it knows the id even without an answer."""
    return str(uuid4())


def submitter() -> str:
    """Return the submitter as ``user@host``."""
    return f"{_user_of(os.geteuid())}@{os.uname().nodename}"


@cache
def _user_of(_uid: int) -> str:
    # Looked up once per user of this process, because it takes as long as the rest of a submission.
    return current_user()


def submit(
    project: Project,
    job_name: str,
    params: Mapping[str, Any] | None = None,
    *,
    assignments: Iterable[str] = (),
    run_id: str | None = None,
    options: SubmitOptions = NO_OPTIONS,
    trigger: str = "cli",
    rerun_of: str | None = None,
    reuse: str | None = None,
    steps_queue: str | None = None,
    by: str | None = None,
) -> Submitted:
    """Record a run of ``job_name`` and put it into its queue.

    Args:
        project: the project of the job.
        job_name: the job.
        params: the params.
        assignments: ``name=value`` texts, read by declared type; they override ``params``.
        run_id: the run's id; a new one by default.
        options: other options of the submission.
        trigger: the origin of the submission, see :data:`runner.model.run.Trigger`.
        rerun_of: the id of the run that this one repeats.
        reuse: the id of a flow whose results are reused where they would be the same.
        steps_queue: for a flow, the queue of all of its step runs, instead of their jobs' queues.
        by: the name of the submitter; ``user@host`` by default.

    Raises:
        UnknownJob, InvalidParams, UsageError: nothing was submitted; see :func:`runner.ledger.admission.admit`.
        JobDisabled: the job has ``enabled: false``.
        JobPaused: the job is paused.
        KeyConflict: the key was used with other params.
        Unavailable: Redis did not answer; the run ``run_id`` may or may not be recorded.
    """
    job = project.catalog.get(job_name)
    submission = admit(
        job,
        {**(params or {}), **read_params(job, assignments)},
        project.settings,
        run_id=new_id() if run_id is None else run_id,
        origin=Origin(trigger=trigger, submitted_by=by or submitter(), rerun_of=rerun_of),
        options=options,
    )
    if reuse is not None or steps_queue is not None:
        submission = replace(submission, reuse=reuse, steps_queue=steps_queue)
    return record(project, submission)


def prepare(
    project: Project,
    job_name: str,
    params: Mapping[str, Any],
    *,
    run_id: str,
    options: SubmitOptions = NO_OPTIONS,
    trigger: str = "cli",
) -> Submission:
    """Return a submission that is recorded later, by :func:`record`.

    The caller already knows the id before that. So if the job's ``unique`` finds an earlier run, this run is recorded,
    too, and ends in REVOKED with the reason ``skipped``.

    Raises the same errors as :func:`submit`, except those of Redis.
    """
    return admit(
        project.catalog.get(job_name),
        params,
        project.settings,
        run_id=run_id,
        origin=Origin(trigger=trigger, submitted_by=submitter(), adopted=True),
        options=options,
    )


def record(project: Project, submission: Submission) -> Submitted:
    """Record a run and put it into its queue.

    Raises:
        JobPaused, KeyConflict, Unavailable: see :func:`submit`.
    """
    ledger = project.ledger
    try:
        return ledger.submit(submission)
    except Unavailable as error:
        error.run_id = submission.id
        raise


def recorded(attempt: Callable[[], Submitted]) -> Submitted:
    """Return the submission of ``attempt``, even if RabbitMQ has not confirmed its hint, which is logged.

    The run is recorded and will start. An error would make callers submit it again.

    Raises: as ``attempt`` does, all but :class:`NotHandedOver`.
    """
    try:
        return attempt()
    except NotHandedOver as error:
        _log.warning("%s", error.message)
        return Submitted(error.run_ids[0], duplicate=False, handed_over=False)


def submitted_document(project: Project, submitted: Submitted) -> dict[str, Any]:
    """Return the run's document, including whether it existed before.

    Raises:
        UnknownRun: the run of the key is no longer known.
    """
    run = submitted.run or project.records.get(submitted.id)
    return {**run.document(), "duplicate": submitted.duplicate}
