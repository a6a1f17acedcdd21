"""Open the project, or the projects, that the command line names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.terminal.hints import remember
from runner.cli.terminal.options import PROJECT
from runner.cli.terminal.output import Output
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.actions.project import Project
    from runner.actions.projects import Projects
    from runner.errors import RunnerError


def named_project() -> str | None:
    """Return the value of ``--project``, given before or after the verb.

    Raises:
        UsageError: it was given more than once.
    """
    found = _named_projects()
    if len(found) > 1:
        verb = click.get_current_context().info_name
        raise UsageError(f"{verb} works on one project, and --project names {len(found)}", hint="name only one")
    return found[0] if found else None


def _named_projects() -> tuple[str, ...]:
    found: tuple[str, ...] = click.get_current_context().meta.get(PROJECT, ())
    return found


def open_project() -> Project:
    """Return the project that ``--project`` names, or the one found from the environment and the working folder.

    Raises:
        NoProject, InvalidSettings: see :func:`runner.settings.load_settings`.
    """
    from runner.actions.project import Project  # start-up time: --help of a command reads no settings

    project = Project.open(named_project())
    remember(project.settings.project)
    _let_warn(project)
    return project


def open_projects(out: Output | None = None) -> Projects:
    """Return the projects that ``--project`` names, or the one found from the environment and the working folder.

    Args:
        out: where later warnings about their archives go; stderr by default.

    Raises:
        NoProject, InvalidSettings: see :func:`runner.settings.load_settings`.
    """
    # start-up time: --help of a command reads no settings
    from runner.actions.project import Project
    from runner.actions.projects import Projects

    named = _named_projects()
    found = Projects([Project.open(folder) for folder in named or (None,)])
    if not found.several:
        remember(found.first.settings.project)
    for project in found.by_name.values():
        _let_warn(project, out)
    return found


def _let_warn(project: Project, out: Output | None = None) -> None:
    def warn_of_archive(error: RunnerError) -> None:
        (out or Output()).warn(f"runs that only the archive has are missing: {error.message}")

    if project.settings.archive_url is not None:
        project.behind.tell_away = warn_of_archive
