"""Tasks of Django's task framework as targets of jobs: the function behind one, with the context that it may take.

Nothing here imports Django: whoever made such a task has done so.
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
"""The modules that define tasks: that of Django 6, and that of the package ``django-tasks``."""


def function_of(target: Any) -> Any:
    """Return the function to call for a task of Django; anything else is returned unchanged."""
    for home in _HOMES:
        module = sys.modules.get(home)
        kind = getattr(module, "Task", None)
        if isinstance(kind, type) and issubclass(type(target), kind):
            return _with_context(target, module) if target.takes_context else target.func
    return target


def _with_context(task: Any, module: Any) -> Callable[..., Any]:
    """Return the function of a task that takes a context, as one that takes its other arguments alone."""
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
        # As many as attempts: that is how a task learns the number of its attempt.
        worker_ids=[worker] * run.attempt,
    )
    return module.TaskContext(task_result=result)
