"""Find the project of the app: that of the backend in ``TASKS``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings

from runner.api import open_project

if TYPE_CHECKING:
    from runner.actions.project import Project

BACKEND = "runner.django.backend.RunnerBackend"


def home_project() -> Project:
    """Return the project in ``OPTIONS`` of the first runner backend in ``TASKS``, or else the one found as usual.

    Raises:
        NoProject, InvalidSettings: see :func:`runner.settings.load_settings`.
    """
    return open_project(next((backend.get("OPTIONS", {}).get("project") for backend in _backends()), None))


def names_backend() -> bool:
    """Return whether ``TASKS`` has a runner backend."""
    return any(_backends())


def _backends() -> Iterator[Mapping[str, Any]]:
    configured: Mapping[str, Mapping[str, Any]] = getattr(settings, "TASKS", None) or {}
    return (backend for backend in configured.values() if backend.get("BACKEND") == BACKEND)
