"""Which folder is the project: ``--project``, ``RUNNER_PROJECT``, or upwards from the working folder."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from runner.errors import InvalidSettings, NoProject

SETTINGS_FILE = "runner.yaml"
JOBS_FOLDER = "jobs.d"

_INIT = "runner init makes a project; --project DIR or RUNNER_PROJECT names one that is elsewhere"


def find_project(project: str | Path | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """Return the absolute path of the project's folder.

    A project is a folder with ``runner.yaml`` or ``jobs.d``. What was named explicitly is taken as it is or
    refused; the search upwards ends at the home folder (included), or at the root for a folder outside of it.

    Raises:
        NoProject: there is none.
        InvalidSettings: the one that the search found could have been put there by anybody.
    """
    if project is not None:
        return _named(Path(project), "--project", cwd)
    if "RUNNER_PROJECT" in environ:
        if not environ["RUNNER_PROJECT"]:
            raise NoProject("RUNNER_PROJECT is set but empty", hint="unset it, or write the project's folder")
        return _named(Path(environ["RUNNER_PROJECT"]), "RUNNER_PROJECT", cwd)
    start = Path(os.path.abspath(cwd))
    for folder in _upwards(start, _home(environ)):
        if is_project(folder):
            # Without this, a runner.yaml that somebody left in /tmp would run code as whoever works below /tmp.
            if folder.stat().st_mode & stat.S_IWOTH:
                raise InvalidSettings(
                    f"{folder} is a project that anybody can write to, and jobs run with your rights",
                    hint=f"chmod o-w {folder}, or name the project with --project DIR",
                )
            return folder
    raise NoProject(f"no {SETTINGS_FILE} and no {JOBS_FOLDER} in {start} or above it", hint=_INIT)


def environment_file(name: str) -> str:
    """Return the name of the file that ``RUNNER_ENV=name`` merges over ``runner.yaml``."""
    return f"runner.{name}.yaml"


def is_project(folder: Path) -> bool:
    """Return whether ``folder`` holds ``runner.yaml`` or ``jobs.d``."""
    try:
        return (folder / SETTINGS_FILE).is_file() or (folder / JOBS_FOLDER).is_dir()
    except OSError:
        return False  # a folder that may not be looked into


def _named(path: Path, source: str, cwd: Path) -> Path:
    folder = Path(os.path.abspath(cwd / path.expanduser()))
    if folder.name == SETTINGS_FILE and folder.is_file():
        folder = folder.parent
    if not folder.exists():
        raise NoProject(f"{source}: there is no folder {folder}", hint=_INIT)
    if not folder.is_dir():
        raise NoProject(f"{source}: {folder} is not a folder", hint=f"write the folder that holds {SETTINGS_FILE}")
    if not is_project(folder):
        renamed = folder / "runner.yml"
        hint = f"rename {renamed} to {SETTINGS_FILE}" if renamed.exists() else _INIT
        raise NoProject(f"{source}: {folder} holds neither {SETTINGS_FILE} nor {JOBS_FOLDER}", hint=hint)
    return folder


def _home(environ: Mapping[str, str]) -> Path | None:
    home = environ.get("HOME")
    if not home:
        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:  # a container's user without an entry
            return None
    return Path(home).resolve()


def _upwards(start: Path, home: Path | None) -> Iterable[Path]:
    for folder in (start, *start.parents):
        yield folder
        if folder == home:
            return
