"""The tasks of a worker: one for each job, made anew when the job changes."""

from __future__ import annotations

from typing import Any

from runner.app.celery_types import DeclaredTask
from runner.model.job import JobSpec


def make_task(app: Any, job: JobSpec) -> DeclaredTask:
    """Register a job under its own name; a former task of that name goes on with what it runs.

    Args:
        app: the app.
        job: its spec.
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
    # As `register_task` does, which warns of a name that is there already: here that is a change, not a mistake.
    app.tasks[job.name] = task
    task.bind(app)
    declared: DeclaredTask = task
    return declared
