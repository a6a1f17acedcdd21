"""Support tasks of Django's task framework as targets of jobs.

This module does not import Django, which the code with the task has imported.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from celery import current_task

from runner.current import current_run

_HOMES = ("django.tasks.base", "django_tasks.base")
"""The modules that define tasks: in Django 6, and in the package ``django-tasks``."""


def function_of(target: Any) -> Any:
    """Return the function to call for a Django task; other values are returned unchanged."""
    for home in _HOMES:
        module = sys.modules.get(home)
        kind = getattr(module, "Task", None)
        if isinstance(kind, type) and issubclass(type(target), kind):
            return _with_context(target, module) if target.takes_context else target.func
    return target


def _with_context(task: Any, module: Any) -> Callable[..., Any]:
    """Return the function of a task with a context argument, as a function without this argument."""
    function = task.func

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(_context(task, module, args, kwargs), *args, **kwargs)

    known = inspect.signature(function)
    _, *others = known.parameters.values()
    call.__signature__ = known.replace(parameters=others)  # type: ignore[attr-defined]
    return call


def _context(task: Any, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    run, now = current_run(), datetime.now(UTC)
    worker = getattr(getattr(current_task, "request", None), "hostname", None) or ""
    result = module.TaskResult(
        task=task,
        id=run.id or "",
        status=module.TaskResultStatus.RUNNING,
        enqueued_at=None,
        started_at=now,
        last_attempted_at=now,
        finished_at=None,
        args=list(args),
        kwargs=kwargs,
        backend=task.backend,
        errors=[],
        # As many as attempts, because a task reads the number of its attempt from here.
        worker_ids=[worker] * run.attempt,
    )
    return module.TaskContext(task_result=result)
