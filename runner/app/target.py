"""Import the target of a job and the exceptions in its retry policy."""

from __future__ import annotations

import builtins
import pkgutil
from collections.abc import Callable, Iterable
from typing import Any

from celery import exceptions as celery_exceptions
from celery.app.task import Task
from celery.local import Proxy

from runner.app.django_task import function_of
from runner.model.storable import names_of, short_text

LONGEST_WORDS = 2000
"""The maximum length of an import's error message (characters)."""


class TargetError(Exception):
    """The import path of a job does not lead to a callable."""


def load_target(path: str) -> Callable[..., Any] | Task:
    """Load the callable or Celery task named by ``module:attribute`` (or ``module.attribute``).

    For a task of Django's task framework, this is its function.

    Raises:
        TargetError: it cannot be imported, or is not callable. The import's exception is the cause.
    """
    try:
        found = pkgutil.resolve_name(path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # The module may raise anything, including SystemExit; other jobs must still run.
        raise TargetError(f"{path}: {names_of(type(error))[1]}: {short_text(error, LONGEST_WORDS, say=str)}") from error
    if isinstance(found, Proxy):
        found = found._get_current_object()
    found = function_of(found)
    if not callable(found):
        raise TargetError(f"{path} is {type(found).__name__}, not something to call")
    return found


def load_exceptions(names: Iterable[str]) -> tuple[type[BaseException], ...]:
    """Return the exception classes with these names.

    A name is a built-in (``ConnectionError``), one of Celery's (``SoftTimeLimitExceeded``), or ``module.Class``.

    Raises:
        TargetError: a name is none of these.
    """
    found = []
    for name in names:
        cls = _known(name)
        if cls is None and ("." in name or ":" in name):
            cls = load_target(name)
        if not (isinstance(cls, type) and issubclass(cls, BaseException)):
            raise TargetError(f"retry names {name}, which is not an exception class")
        found.append(cls)
    return tuple(found)


def known_exceptions(names: Iterable[str]) -> tuple[type[BaseException], ...]:
    """Return the exception classes among ``names`` that need no import."""
    found = [_known(name) for name in names]
    return tuple(cls for cls in found if isinstance(cls, type) and issubclass(cls, BaseException))


def _known(name: str) -> Any:
    return getattr(builtins, name, None) or getattr(celery_exceptions, name, None)
