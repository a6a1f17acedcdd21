"""Django's task framework, wherever it is: ``django.tasks`` of Django 6, or the package ``django-tasks`` on Django 5.2.

The only module that knows there are two.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django import VERSION
from django.core.exceptions import ImproperlyConfigured

_INSIDE, _PACKAGE = "django.tasks", "django_tasks"

HOME = _INSIDE if find_spec(_INSIDE) is not None else _PACKAGE
"""The package that defines the framework here."""

if find_spec(HOME) is None:
    raise ImproperlyConfigured(
        f"Django {VERSION[0]}.{VERSION[1]} has no task framework; install that of Django 6: pip install django-tasks"
    )

_base: Any = import_module(f"{HOME}.base")
_backends: Any = import_module(f"{HOME}.backends.base")
_exceptions: Any = import_module(f"{HOME}.exceptions")

BaseTaskBackend: Any = _backends.BaseTaskBackend
Task: Any = _base.Task
TaskError: Any = _base.TaskError
TaskResult: Any = _base.TaskResult
TaskResultStatus: Any = _base.TaskResultStatus
DEFAULT_PRIORITY: int = _base.DEFAULT_TASK_PRIORITY
DEFAULT_QUEUE: str = _base.DEFAULT_TASK_QUEUE_NAME
InvalidTask: Any = _exceptions.InvalidTask if HOME == _INSIDE else _exceptions.InvalidTaskError
TaskResultDoesNotExist: Any = _exceptions.TaskResultDoesNotExist

task_enqueued: Any = import_module(f"{HOME}.signals").task_enqueued
