"""Check jobs files, or the whole project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import NoProject
from runner.settings import load_settings
from runner.spec.catalog import Catalog, load_catalog, load_files

if TYPE_CHECKING:
    from runner.actions.project import Project


def validate(project: Project) -> Catalog:
    """Return the project's catalog, read anew; its ``problems`` are what is wrong."""
    return load_catalog(project.settings, use_cache=False)


def validate_paths(paths: Sequence[str], project: str | None = None) -> Catalog:
    """Return the catalog of the named files and folders, under the ``defaults`` of the project if there is one.

    Args:
        paths: files and folders; what can not be read is a problem.
        project: its folder; found from the working folder by default.

    Raises:
        NoProject: ``project`` was given and is none.
        InvalidSettings: the project's ``runner.yaml`` is wrong.
    """
    try:
        defaults = load_settings(project).defaults
    except NoProject:
        if project is not None:
            raise
        defaults = {}
    return load_files([Path(path) for path in paths], defaults=defaults)
