"""Check the backend's options, project, settings, and jobs for ``manage.py check``, without connecting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core import checks

from runner.api import open_project
from runner.errors import UsageError
from runner.model.option import did_you_mean

OPTIONS = ("project", "database", "jobs")


def check_backend(alias: str, options: Mapping[str, Any]) -> list[Any]:
    """Return messages for Django's system checks."""
    where = f"TASKS[{alias!r}]['OPTIONS']"
    found: list[Any] = [
        checks.Error(f"{where} has {name!r}{did_you_mean(str(name), OPTIONS)}", id="runner.E001")
        for name in options
        if name not in OPTIONS
    ]
    try:
        # Not the opened project, because the problem may have been repaired since.
        project = open_project.__wrapped__(options.get("project"))
        catalog = project.catalog
    except UsageError as error:
        hint = error.hint or "runner validate shows more"
        return [*found, checks.Error(f"{where}: {error.message}", hint=hint, id="runner.E002")]
    if catalog.problems:
        first = f"{len(catalog.problems)} problems in jobs of {project.settings.project}: {catalog.problems[0]}"
        found.append(checks.Warning(first, hint="runner validate shows all of them", id="runner.W001"))
    for path, job in options.get("jobs", {}).items():
        if job not in catalog.jobs:
            guess = did_you_mean(job, catalog.jobs)
            found.append(checks.Error(f"{where}['jobs'] names {job!r} for {path}{guess}", id="runner.E003"))
    return found
