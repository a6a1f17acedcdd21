"""Find the folder of the project: by ``--project``, ``RUNNER_PROJECT``, or a search from the working folder upwards."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from runner._dataclass import dataclass
from runner.errors import InvalidSettings, NoProject
from runner.host.text import has_control
from runner.host.trust import SETTING, VARIABLE, Trust
from runner.host.users import NoHome, expand_home, home_of

SETTINGS_FILE = "runner.yaml"
JOBS_FOLDER = "jobs.d"

FOUND_VARIABLE = "RUNNER_PROJECT_FOUND"
"""Set for processes that the runner starts: a search found the project in this folder, although it is named there."""

_INIT = "runner init creates a project; use --project DIR or RUNNER_PROJECT for one that is elsewhere"


@dataclass(frozen=True, slots=True)
class ProjectFolder:
    """The folder of a project, an absolute path. ``found``: a search found it; otherwise the user named it."""

    folder: Path
    found: bool


def project_variables(folder: Path, *, found: bool) -> dict[str, str]:
    """Return the variables that tell a child process the project, and whether a search found it."""
    return {"RUNNER_PROJECT": str(folder), FOUND_VARIABLE: str(folder) if found else ""}


def find_project(project: str | Path | None, environ: Mapping[str, str], cwd: Path) -> ProjectFolder:
    """Return the folder of the project.

    A project is a folder with ``runner.yaml`` or ``jobs.d``. A folder that is named must be one. Otherwise the search
    goes upwards, to the home folder, or to the root if it starts outside the home folder.

    Raises:
        NoProject: there is no project.
        InvalidSettings: its path has a control character.
    """
    found = _find(project, environ, cwd)
    check_path(found.folder)
    return found


def check_path(folder: Path) -> None:
    """Refuse a path that cannot be part of a crontab, a systemd unit, or other generated text.

    Raises:
        InvalidSettings: it has a control character.
    """
    if has_control(str(folder)):
        raise InvalidSettings(
            f"the path of the project has a control character, such as a line break: {str(folder)!r}",
            hint="rename the folder",
        )


def check_found(folder: Path, trust: Trust) -> None:
    """Refuse a project that a search found, if another user may have put it there.

    Otherwise a ``runner.yaml`` in /tmp could run code as every user who works in a folder below /tmp.

    Raises:
        InvalidSettings: the folder belongs to another user, or anybody can write to it.
    """
    status = folder.stat()
    if trust.is_open(folder, status):
        raise InvalidSettings(
            f"anybody can write to the project {folder}, and its jobs would run with your permissions",
            hint=f"chmod o-w {shlex.quote(str(folder))}, or name the project with --project DIR",
        )
    for path in (folder, folder / SETTINGS_FILE):
        try:
            owner = trust.stranger(path, path.stat().st_uid)
        except OSError:
            continue  # reading it reports the error
        if owner is not None:
            quoted = shlex.quote(str(folder))
            raise InvalidSettings(
                f"{path} belongs to {owner}, and jobs of the project would run with your permissions",
                hint=f"if you trust {owner}, name the project: --project {quoted}, or trust it permanently: "
                f"{VARIABLE}={quoted}, or {SETTING} in ~/.config/runner/config.yaml",
            )


def environment_file(name: str) -> str:
    """Return the name of the file that ``RUNNER_ENV=name`` merges over ``runner.yaml``."""
    return f"runner.{name}.yaml"


def is_project(folder: Path) -> bool:
    """Return whether ``folder`` has ``runner.yaml`` or ``jobs.d``."""
    try:
        # Also a pipe or a dangling link: reading it reports the error, and no other project is used by mistake.
        file = folder / SETTINGS_FILE
        return (os.path.lexists(file) and not file.is_dir()) or (folder / JOBS_FOLDER).is_dir()
    except OSError:
        return False  # a folder without permission to look into it


def _find(project: str | Path | None, environ: Mapping[str, str], cwd: Path) -> ProjectFolder:
    named: tuple[str, str | Path] | None = None
    if project is not None:
        named = ("--project", project)
    elif "RUNNER_PROJECT" in environ:
        if not environ["RUNNER_PROJECT"]:
            raise NoProject("RUNNER_PROJECT is set but empty", hint="unset it, or set it to the folder of the project")
        named = ("RUNNER_PROJECT", environ["RUNNER_PROJECT"])
    if named is not None:
        folder = _named(Path(named[1]), named[0], cwd)
        return ProjectFolder(folder, found=environ.get(FOUND_VARIABLE) == str(folder))
    start = Path(os.path.abspath(cwd))
    for folder in _upwards(start, home_of(environ)):
        if is_project(folder):
            return ProjectFolder(folder, found=True)
    raise NoProject(f"no {SETTINGS_FILE} and no {JOBS_FOLDER} in {start} or above it", hint=_INIT)


def _named(path: Path, source: str, cwd: Path) -> Path:
    try:
        folder = Path(os.path.abspath(cwd / expand_home(path)))
    except NoHome as error:
        raise NoProject(f"{source}: {error}", hint=_INIT) from None
    if folder.name == SETTINGS_FILE and folder.is_file():
        folder = folder.parent
    if not folder.exists():
        raise NoProject(f"{source}: there is no folder {folder}", hint=_INIT)
    if not folder.is_dir():
        raise NoProject(f"{source}: {folder} is not a folder", hint=f"name the folder that contains {SETTINGS_FILE}")
    if not is_project(folder):
        renamed = folder / "runner.yml"
        hint = f"rename {renamed} to {SETTINGS_FILE}" if renamed.exists() else _INIT
        raise NoProject(f"{source}: {folder} has neither {SETTINGS_FILE} nor {JOBS_FOLDER}", hint=hint)
    return folder


def _upwards(start: Path, home: Path | None) -> Iterable[Path]:
    last = home.resolve() if home is not None else None
    for folder in (start, *start.parents):
        yield folder
        if folder == last:
            return
