"""Submit a run of a job."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from runner.errors import JobDisabled, UsageError
from runner.model.duration import MAX_DURATION
from runner.model.job import QUEUE_NAME, JobSpec
from runner.model.option import Kind, Path
from runner.spec.params import check_params, check_size, read_params

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.submission import Submitted

LONGEST_KEY = 256
"""Characters of an idempotency key."""
FARTHEST_START = 100 * 365 * 86400.0
"""Seconds ahead. What is recorded must be readable in every time zone: one run with an eta after the year 9999 would
keep every list that it is in from being shown."""


def new_id() -> str:
    """Return an id for a run. The submitter makes it, so that it can be named even if no answer comes back."""
    return str(uuid4())


def submitter() -> str:
    """Return who submits, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without an entry
        user = str(os.getuid())
    return f"{user}@{os.uname().nodename}"


def submit(
    project: Project,
    job_name: str,
    params: Mapping[str, Any] | None = None,
    *,
    words: Iterable[str] = (),
    run_id: str | None = None,
    key: str | None = None,
    eta: float | None = None,
    delay: float | None = None,
    expires: float | None = None,
    queue: str | None = None,
    priority: int | None = None,
    trigger: str = "cli",
    rerun_of: str | None = None,
    force: bool = False,
    by: str | None = None,
) -> Submitted:
    """Record a run of ``job_name`` and put it into its queue.

    Args:
        project: where the job is declared.
        job_name: the job.
        params: values as the job declares them.
        words: ``name=value`` texts, read by declared type; they come before ``params``.
        run_id: the run's id; a new one by default.
        key: submitting the same key of a job again returns the run that exists.
        eta: Unix time in seconds before which the run does not start.
        delay: seconds before which it does not start, by Redis' clock; instead of ``eta``.
        expires: seconds from ``eta``, else from now, after which it does not start any more.
        queue: instead of the job's.
        priority: 0 to 9, instead of the job's.
        trigger: what made the submission, see :data:`runner.model.run.Trigger`.
        rerun_of: the id of the run that this one repeats.
        force: also if the job is paused; the run starts all the same.
        by: who submits; ``user@host`` by default.

    Raises:
        UnknownJob, InvalidParams, UsageError: nothing was submitted.
        JobDisabled: the job says ``enabled: false``.
        JobPaused: somebody paused it.
        KeyConflict: the key was used with other params.
        Unavailable: Redis did not answer; the run may or may not have been recorded.
    """
    from runner.ledger.submission import (
        Submission,  # start-up time: what is wrong with the params is told without Redis
    )

    job = project.catalog.get(job_name)
    if not job.enabled:
        raise JobDisabled(f"job {job.name} is disabled", hint=f"set enabled: true in {job.file}, line {job.line}")
    given = prepare_params(project, job, params or {}, words)
    _check(queue, priority, eta if delay is None else time.time() + delay, expires, key)
    return project.ledger.submit(
        Submission(
            id=run_id or new_id(),
            job=job,
            params=given,
            queue=queue or job.queue,
            priority=job.priority if priority is None else priority,
            trigger=trigger,
            submitted_by=by or submitter(),
            key=key,
            eta=eta,
            delay=delay,
            expires=job.expires if expires is None else expires,
            rerun_of=rerun_of,
            forced=force,
        )
    )


def submitted_document(project: Project, submitted: Submitted) -> dict[str, Any]:
    """Return the run's document, with whether it existed before.

    Raises:
        UnknownRun: the key's run is known no more.
    """
    run = submitted.run or project.ledger.get(submitted.id)
    return {**run.document(), "duplicate": submitted.duplicate}


def prepare_params(project: Project, job: JobSpec, params: Mapping[str, Any], words: Iterable[str]) -> dict[str, Any]:
    """Return the params of a run: ``words`` over ``params``, checked, defaults filled in.

    Raises:
        InvalidParams: they do not fit what the job declares, or are too large.
    """
    given = check_params(job, {**params, **read_params(job, words)})
    check_size(given, project.settings.limits.params)
    return given


def _check(queue: str | None, priority: int | None, eta: float | None, expires: float | None, key: str | None) -> None:
    if queue is not None:
        _require("queue", queue, QUEUE_NAME)
    if priority is not None and (type(priority) is not int or not 0 <= priority <= 9):
        raise UsageError(f"priority is {priority}", hint="write 0 to 9, 9 is served first")
    # Each is written so that nan, which is neither less nor more, is refused too.
    if eta is not None and not 0 <= eta <= time.time() + FARTHEST_START:
        raise UsageError("the start is no time of the next hundred years", hint="submit it when its time has come")
    if expires is not None and not expires > 0:
        raise UsageError("expires is not more than zero", hint="write how long the run may wait, such as 1h")
    if expires is not None and expires > MAX_DURATION:
        raise UsageError("expires is longer than ten years", hint="leave it out, the run waits as long as it must")
    if key is not None and not (0 < len(key) <= LONGEST_KEY and key.isprintable()):
        raise UsageError("the key is empty, too long or not printable", hint=f"use 1 to {LONGEST_KEY} characters")


def _require(name: str, value: str, kind: Kind) -> None:
    def refuse(path: Path, message: str, *, on_key: bool = False) -> None:  # noqa: ARG001
        raise UsageError(f"{name}: {message}")

    kind.read(value, (name,), refuse)
