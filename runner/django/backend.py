"""The backend of Django's task framework: a task is a run of the job that declares its function.

``TASKS = {"default": {"BACKEND": "runner.django.backend.RunnerBackend", "OPTIONS": {"project": BASE_DIR}}}``
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.utils import timezone

from runner.actions.submit import new_id, prepare, record, recorded
from runner.api import open_project
from runner.django.backend_check import check_backend
from runner.django.declared import job_of
from runner.django.priorities import to_run
from runner.django.results import RunnerResult, enqueued, result_of, task_of, update
from runner.django.task_framework import (
    DEFAULT_QUEUE,
    BaseTaskBackend,
    InvalidTask,
    Task,
    TaskResultDoesNotExist,
    task_enqueued,
)
from runner.errors import Unavailable, UnknownJob, UnknownRun, UsageError
from runner.model.interface import PYTHON, parse_options
from runner.model.run_id import require_run_id
from runner.model.submit_options import SubmitOptions

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.ledger.submission import Submission


class RunnerBackend(BaseTaskBackend):
    """Submits tasks as runs, and reads results from the ledger.

    ``OPTIONS``: ``project``: the folder of the project, by default found as on the command line; ``database``: the
    connection whose transaction must commit before a submission, or None for no transaction; ``jobs``: the job to
    submit for a function (by import path) that several jobs run.

    ``QUEUES`` limits the queue names of tasks; without it, all names are allowed.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.queues = set(params.get("QUEUES", ()))
        self._database: str | None = self.options.get("database", DEFAULT_DB_ALIAS)

    @property
    def project(self) -> Project:
        """Return the project, opened once per process.

        Raises:
            NoProject, InvalidSettings: see :func:`runner.settings.load_settings`.
        """
        return open_project(self.options.get("project"))

    def enqueue(self, task: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> RunnerResult:
        """Submit a run when the transaction commits, or at once outside of a transaction. Its id is known at once.

        Raises:
            InvalidTask: no job declares the function.
            TypeError: the arguments do not match the function, or are not JSON.
            InvalidParams, JobDisabled, UsageError: as :func:`runner.submit` raises them.
            JobPaused, Unavailable: the same, at the commit, when the changes of the transaction are in the database.
        """
        self.validate_task(task)
        project = self.project
        job = job_of(project, task.func, self.options.get("jobs", {}))
        result = enqueued(task, new_id(), args, kwargs)
        params = _params(task, result.args, result.kwargs)
        submission = prepare(project, job, params, run_id=result.id, options=self._asked(task), trigger="api")
        self._when_committed(lambda: self._submit(result, submission))
        return result

    def get_result(self, result_id: str) -> RunnerResult:
        """Return the current result of a run.

        Raises:
            TaskResultDoesNotExist: no run has this id, or its job runs no function that can be imported here.
            Unavailable: Redis cannot be reached.
            UsageError: the archive is to be asked, and its packages are missing.
        """
        project = self.project
        try:
            require_run_id(result_id)
        except UsageError as error:
            raise TaskResultDoesNotExist(f"{result_id}: {error}") from error
        try:
            run = project.records.get(result_id)
        except UnknownRun as error:
            raise TaskResultDoesNotExist(f"{result_id}: {error}") from error
        try:
            project.look(run.job)
            job = project.catalog.get(run.job)
            return result_of(run, task_of(_load(job.import_path), self.alias, self.task_class))
        except (UnknownJob, UsageError, InvalidTask, ImportError, AttributeError, ValueError) as error:
            raise TaskResultDoesNotExist(f"{result_id}: {error}") from error

    def check(self, **kwargs: Any) -> list[Any]:  # noqa: ARG002
        """Return the problems of the options and of the project."""
        return check_backend(self.alias, self.options)

    def _asked(self, task: Any) -> SubmitOptions:
        after = task.run_after
        given = {
            "at": timezone.make_aware(after) if after is not None and timezone.is_naive(after) else after,
            # With Django's default, the job decides, where operators can change it.
            "queue": None if task.queue_name == DEFAULT_QUEUE else task.queue_name,
            "priority": to_run(task.priority),
        }
        return parse_options(SubmitOptions, given, PYTHON, zone=self.project.settings.timezone)

    def _when_committed(self, act: Callable[[], None]) -> None:
        if self._database is None:
            act()
            return
        connection = connections[self._database]
        # A closed connection has no transaction and need not be opened.
        if connection.in_atomic_block or connection.connection is not None:
            transaction.on_commit(act, using=self._database)
        else:
            act()

    def _submit(self, result: RunnerResult, submission: Submission) -> None:
        try:
            submitted = recorded(lambda: record(self.project, submission))
        except Unavailable as error:
            raise error.naming_run() from error
        if submitted.run is not None:
            update(result, submitted.run)
        elif not submitted.handed_over:
            with suppress(UnknownRun, Unavailable):
                update(result, self.project.ledger.get(submitted.id))
        task_enqueued.send(type(self), task_result=result)


def _params(task: Any, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the params for arguments of the function; the job may have fixed values for missing ones.

    Raises:
        TypeError: the arguments do not match the function.
    """
    signature = inspect.signature(task.func)
    parameters = list(signature.parameters.values())[1 if task.takes_context else 0 :]
    bound = signature.replace(parameters=parameters).bind_partial(*args, **kwargs)
    params: dict[str, Any] = {}
    for parameter in parameters:
        value = bound.arguments.get(parameter.name)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            params |= value or {}
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL and value:
            raise TypeError(f"{task.name} takes any number of arguments by position, and params are given by name")
        elif parameter.name in bound.arguments:
            params[parameter.name] = value
    return params


def _load(path: str) -> Any:
    """Return the task or function behind the import path of a job.

    Raises:
        InvalidTask: the object is neither.
        ImportError, AttributeError, ValueError: the path cannot be imported.
    """
    found = pkgutil.resolve_name(path)
    if isinstance(found, Task) or inspect.isfunction(found):
        return found
    raise InvalidTask(f"{path or 'a flow'} is no function")
