"""The tasks of a worker: one for each job, made anew when the job changes.

A pool child lives longer than a spec. What has changed since it was forked reaches it with the request, from its
parent, which read it in this worker's own files; nothing of a message is part of it.
"""

from __future__ import annotations

from typing import Any

from celery.app import trace
from celery.exceptions import NotRegistered

from runner.app.job_task import Carried, JobTask
from runner.model.job import JobSpec


class ChildTasks:
    """What a pool child looks its tasks up in. A job that it was not forked with gets one when a run comes."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __getitem__(self, name: str) -> Any:
        try:
            return self._app._tasks[name]
        except NotRegistered:
            # Nothing of the job is known yet: the request brings it.
            return trace_task(self._app, make_task(self._app, JobSpec(name=name, task="")))


def use_child_tasks(app: Any) -> None:
    """Have this pool child take jobs that it was not forked with."""
    if trace._localized:
        trace._localized[0] = ChildTasks(app)


def make_task(app: Any, job: JobSpec, carried: Carried | None = None) -> JobTask:
    """Register a job under its own name; a former task of that name goes on with what it runs.

    Args:
        app: the app.
        job: its spec.
        carried: what pool children build it from, if they may have been forked with another one.
    """
    task: JobTask = type(
        "Job",
        (JobTask,),
        {
            "name": job.name,
            "__module__": JobTask.__module__,
            "__doc__": job.description,
            "job": job,
            "carried": carried,
            "time_limit": job.timeout,
            "soft_time_limit": job.soft_timeout,
            "app": app,
        },
    )()
    # As `register_task` does, which warns of a name that is there already: here that is a change, not a mistake.
    app.tasks[job.name] = task
    task.bind(app)
    return task


def trace_task(app: Any, task: JobTask) -> JobTask:
    """Make a task that was registered while the worker runs fit to be run; return it."""
    task.__trace__ = trace.build_tracer(task.name, task, app.loader, app.worker_name or None, app=app)
    return task
