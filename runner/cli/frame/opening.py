"""Opens the project that the command line names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli.frame.hints import remember
from runner.cli.frame.options import PROJECT

if TYPE_CHECKING:
    from runner.actions.project import Project


def named_project() -> str | None:
    """Return the value of ``--project``, given before or after the verb."""
    found: str | None = click.get_current_context().meta.get(PROJECT)
    return found


def open_project() -> Project:
    """Return the project that ``--project`` names, or the one found from the environment and the working folder.

    Raises:
        NoProject, InvalidSettings: see :func:`runner.settings.load_settings`.
    """
    from runner.actions.project import Project  # start-up time: --help of a command reads no settings

    project = Project.open(named_project())
    remember(project.settings.project)
    return project
