"""The project whose runs the app shows: that of the backend in ``TASKS``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from django.conf import settings

from runner.api import open_project

if TYPE_CHECKING:
    from runner.actions.project import Project

BACKEND = "runner.django.backend.RunnerBackend"


def home_project() -> Project:
    """Return the project that ``OPTIONS`` of the first such backend in ``TASKS`` names, else the one that is found.

    Raises:
        NoProject, InvalidSettings: see :func:`runner.settings.load_settings`.
    """
    return open_project(next((each.get("OPTIONS", {}).get("project") for each in _backends()), None))


def names_backend() -> bool:
    """Return whether ``TASKS`` has such a backend."""
    return any(_backends())


def _backends() -> Iterator[Mapping[str, Any]]:
    configured: Mapping[str, Mapping[str, Any]] = getattr(settings, "TASKS", None) or {}
    return (each for each in configured.values() if each.get("BACKEND") == BACKEND)
