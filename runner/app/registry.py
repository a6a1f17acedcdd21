"""The tasks of a worker: one for each job, replaced when the job changes."""

from __future__ import annotations

from typing import Any

from runner.app.celery_types import DeclaredTask
from runner.model.job import JobSpec


def make_task(app: Any, job: JobSpec) -> DeclaredTask:
    """Register a job under its name; active runs of a former task go on.

    Args:
        app: the app.
        job: the spec of the job.
    """
    base = app.Task
    task: Any = type(
        "Job",
        (base,),
        {
            "name": job.name,
            "__module__": base.__module__,
            "__doc__": job.description,
            "job": job,
            "time_limit": job.timeout,
            "soft_time_limit": job.soft_timeout,
            "app": app,
        },
    )()
    # Like `register_task`, which would warn about an existing name; here that is a change and not a mistake.
    app.tasks[job.name] = task
    task.bind(app)
    declared: DeclaredTask = task
    return declared
