"""Find the job that runs a function, or the YAML to add."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from runner.django.task_framework import InvalidTask
from runner.errors import InvalidSpec
from runner.model.option import did_you_mean

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.catalog.catalog import Catalog

_indexes: dict[str, tuple[Catalog, dict[str, list[str]]]] = {}
"""The jobs that run each function (by path), with their catalog, by project."""


def path_of(function: Callable[..., Any]) -> str:
    """Return the import path of a function in Django's form."""
    return f"{function.__module__}.{function.__qualname__}"


def job_of(project: Project, function: Callable[..., Any], chosen: Mapping[str, str]) -> str:
    """Return the name of the job that runs a function.

    Args:
        project: the project.
        function: the function.
        chosen: the job to use for a function (by path) that several jobs run.

    Raises:
        InvalidTask: no job runs it, or several do and none is chosen. The message has the text to add.
    """
    path = path_of(function)
    project.look(chosen.get(path))
    names = _jobs_of(project, path)
    if not names:
        project.look(path)  # not the name of a job, so that the files are checked again at once
        names = _jobs_of(project, path)
    if path in chosen:
        if chosen[path] not in names:
            guess = did_you_mean(chosen[path], names)
            raise InvalidTask(f"OPTIONS['jobs'] names job {chosen[path]} for {path}, which does not run it{guess}")
        return chosen[path]
    if len(names) > 1:
        raise InvalidTask(
            f"jobs {', '.join(names[:-1])} and {names[-1]} all run {path}; choose one in TASKS, "
            f"with OPTIONS: {{'jobs': {{{path!r}: {names[0]!r}}}}}"
        )
    if not names:
        raise InvalidTask(_to_declare(project, function))
    return names[0]


def _jobs_of(project: Project, path: str) -> list[str]:
    catalog, folder = project.catalog, str(project.settings.project)
    known = _indexes.get(folder)
    if known is None or known[0] is not catalog:
        index: dict[str, list[str]] = {}
        for job in catalog.jobs.values():
            if job.import_path:
                index.setdefault(job.import_path.replace(":", "."), []).append(job.name)
        known = _indexes[folder] = (catalog, index)
    return known[1].get(path, [])


def _to_declare(project: Project, function: Callable[..., Any]) -> str:
    # start-up time: most functions are declared, and this imports what `runner new` does
    from runner.authoring.inspection import describe
    from runner.authoring.new_job import options_of_new
    from runner.authoring.writing import job_text

    path = path_of(function)
    task = f"{function.__module__}:{function.__qualname__}"
    message = f"no job declares {path}, so it cannot be enqueued"
    if project.catalog.broken:
        message += f"; runner validate shows the problems of jobs that are declared: {len(project.catalog.broken)}"
    described = describe(task)
    if "error" in described:
        return f"{message}. A job cannot run it: {described['error']}"
    try:
        options, notes = options_of_new(task, described)
    except InvalidSpec as error:
        return f"{message}. {error.message}; {error.hint}"
    name = _free_name(project, function)
    file = project.settings.jobs_dir[0] / f"{name}.yaml"
    return f"{message}. Write into {file}, for example:\n\njobs:\n{job_text(name, options, notes)}"


def _free_name(project: Project, function: Callable[..., Any]) -> str:
    """Return an unused name for a job that runs a function."""
    parts = [*function.__module__.split("."), function.__name__]
    taken = project.catalog.jobs.keys() | project.catalog.broken.keys()
    names = [re.sub(r"[^a-z0-9]+", "-", "-".join(parts[first:]).lower()).strip("-") for first in range(len(parts))]
    fitting = [name for name in reversed(names) if name and name not in taken]
    return (fitting[0] if fitting else "my-task")[:64].strip("-")
